"""FCOS3D, PGD and SMOKE: boxes of single images in 3D."""
import cv2
import mmengine
import numpy as np
import pytest
from mmengine.config import Config

from mmkd.deploy.tasks import TASKS
from mmkd.utils.configs import read_config
from tests.deploy.detectors import DetectorPair
from tests.detectors3d import fcos3d

PIPELINE = [dict(type='LoadImageFromFileMono3D'),
            dict(type='mmdet.Resize', scale_factor=1.0),
            dict(type='Pack3DDetInputs', keys=['img'])]


def pgd():
    model = read_config(
        'mmdet3d::pgd/pgd_r101-caffe_fpn_head-gn_16xb2-1x_nus-mono3d.py').model
    narrow, head = fcos3d(), model.bbox_head
    model._scope_, model.backbone, model.neck = 'mmdet3d', narrow.backbone, narrow.neck
    head.update(in_channels=16, feat_channels=16, stacked_convs=1, dcn_on_last_conv=False,
                norm_cfg=dict(type='GN', num_groups=4), cls_branch=(16,), dir_branch=(16,),
                attr_branch=(16,), reg_branch=((16,),) * 4 + ((), (16,)),
                depth_branch=(16,), centerness_branch=(16,))
    return model


def deformable():
    """FCOS3D with the deformable convolution that the shipped one has."""
    model = fcos3d()
    model.bbox_head.dcn_on_last_conv = True
    return model


def infos(folder, seed, size=(128, 224)):
    """A file of infos with one image, and its path."""
    random = np.random.default_rng(seed)
    image = cv2.resize(random.integers(0, 256, (8, 14, 3), dtype=np.uint8), size[::-1])
    cv2.imwrite(str(folder / f'{seed}.png'), image)
    focal = 120. + 20 * seed
    camera = dict(img_path=f'{seed}.png', lidar2cam=np.eye(4).tolist(),
                  cam2img=[[focal, 0., size[1] / 2], [0., focal, size[0] / 2], [0., 0., 1.]])
    path = folder / f'{seed}.pkl'
    mmengine.dump(dict(data_list=[dict(images=dict(CAM_FRONT=camera))]), path)
    return str(path)


def make(model, folder, **options):
    """(pair, samples) of a model's builder."""
    model = model()
    model.test_cfg.update(nms_pre=100, max_per_img=50)
    cfg = Config(dict(default_scope='mmdet3d', model=model, test_dataloader=dict(
        dataset=dict(pipeline=PIPELINE, box_type_3d='Camera'))))
    items = [TASKS['mono-detection'].read(cfg, infos(folder, seed)) for seed in range(3)]
    return DetectorPair(cfg, 'mono-detection', folder, items,
                        ['bbox_head.conv_cls', 'bbox_head.conv_centerness'], bias=0.,
                        **options), items


@pytest.mark.parametrize('model', [fcos3d, pgd, deformable])
def test_boxes_are_those_of_pytorch(model, tmp_path):
    make(model, tmp_path)[0].assert_same()
