"""The real frame as a nuScenes data set of one sample, where it is there."""
import copy
import os

from mmengine.registry import DATASETS, DefaultScope, init_default_scope

from mmkd.utils.configs import read_config

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(os.path.dirname(ROOT), 'shared', 'real', 'nuscenes_frame')
INFO = 'n015-2018-07-24-11-22-45+0800.pkl'
MISSING = None if os.path.isfile(os.path.join(FOLDER, INFO)) else \
    f'the real nuScenes frame is not at {FOLDER}'
CAMERAS = ('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_LEFT', 'CAM_BACK',
           'CAM_BACK_RIGHT')


def use_frame(dataset, pipeline=None, **changes):
    """A data set's config (in its wrappers) changed to the frame; its innermost is returned."""
    dataset = copy.deepcopy(dataset)
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    dataset.update(data_root=FOLDER, ann_file=INFO, use_valid_flag=False, **changes)
    dataset['data_prefix'] = dict(pts='', sweeps='', img='')
    dataset['modality'] = dict(use_lidar=True, use_camera=True)
    if pipeline is not None:
        dataset['pipeline'] = pipeline
    return dataset


def frame_dataset(pipeline, **changes):
    """The data set of the frame with a pipeline."""
    cfg = read_config('configs/_base_/datasets/nus-bev-256x704.py')
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return DATASETS.build(use_frame(cfg.train_dataloader.dataset, pipeline, **changes))


def frame_info():
    """The sample's info as a pipeline gets it, with absolute paths and boxes."""
    init_default_scope('mmdet3d')
    dataset = frame_dataset([])
    info = dataset.get_data_info(0)
    return info | dict(box_type_3d=dataset.box_type_3d, box_mode_3d=dataset.box_mode_3d)
