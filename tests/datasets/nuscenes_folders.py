"""Two keyframes in nuScenes' folders with mmdet3d's info files, for pipelines and training."""
import os
import pickle

import cv2
import numpy as np
from mmdet3d.datasets import NuScenesDataset

from tests.models.bev.rigs import rig

CAMERAS = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT',
           'CAM_BACK_RIGHT')


def write_nuscenes(root, boxes=10, points=500):
    """Small random pictures, a random sweep each, and a box of each of the first classes."""
    random, infos, meta = np.random.default_rng(0), [], rig(size=(90, 160))
    os.makedirs(root / 'sweeps' / 'LIDAR_TOP')
    for sensor in ('LIDAR_TOP', *CAMERAS):
        os.makedirs(root / 'samples' / sensor)
    for i in range(2):
        eye = np.eye(4).tolist()
        sweep = (random.random((points, 5)) * [60, 60, 4, 255, 32] - [30, 30, 2, 0, 0])
        sweep.astype(np.float32).tofile(root / 'samples' / 'LIDAR_TOP' / f'a__LIDAR_TOP__{i}.bin')
        images = {}
        for j, name in enumerate(CAMERAS):
            path = f'a__{name}__{i}.jpg'
            cv2.imwrite(str(root / 'samples' / name / path),
                        random.integers(0, 255, (90, 160, 3), dtype=np.uint8))
            images[name] = dict(img_path=path, cam2img=meta['cam2img'][j].tolist(), cam2ego=eye,
                                lidar2cam=meta['lidar2cam'][j].tolist())
        instances = [dict(bbox_label=k, bbox_label_3d=k, bbox_3d_isvalid=True, num_lidar_pts=5,
                      bbox_3d=[3. * k - 15, 12., -1., 4., 2., 1.5, .3], num_radar_pts=0,
                      velocity=[1., 0.]) for k in range(boxes)]  # CBGS wants one of each class
        infos.append(dict(sample_idx=i, token=f't{i}', timestamp=.5 * i, ego2global=eye,
                          images=images, instances=instances, lidar_points=dict(
                              lidar_path=f'a__LIDAR_TOP__{i}.bin', num_pts_feats=5,
                              lidar2ego=eye)))
    names = {name: i for i, name in enumerate(NuScenesDataset.METAINFO['classes'])}
    for split in ('train', 'val'):
        with open(root / f'nuscenes_infos_{split}.pkl', 'wb') as file:
            pickle.dump(dict(metainfo=dict(categories=names, dataset='nuscenes',
                                           version='v1.0-mini', info_version='1.1'),
                             data_list=infos), file)
