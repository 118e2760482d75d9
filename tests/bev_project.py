"""A camera detector that a LiDAR detector teaches, as a user has it: data, configs, weights."""
import pickle

import torch
from mmengine.config import Config

from mmkd.utils.configs import read_config
from tests.cli import ROOT
from tests.configs.narrow_detectors3d import narrow
from tests.configs.test_bevdet_configs import innermost
from tests.datasets.nuscenes_folders import write_nuscenes
from tests.detectors3d import centerpoint
from tests.helpers import build

CLASSES = ('car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle',
           'bicycle', 'pedestrian', 'traffic_cone')
AREA = (-51.2, -51.2, -5., 51.2, 51.2, 3.)


def write_teacher(folder):
    """teacher.py and teacher.pth, a small CenterPoint; their paths by argument of a teacher."""
    teacher = centerpoint(area=AREA, size=0.8, tasks=(CLASSES,))
    Config(dict(default_scope='mmdet3d', model=teacher)).dump(str(folder / 'teacher.py'))
    torch.save(dict(state_dict=build(teacher).state_dict(), meta={}), folder / 'teacher.pth')
    return dict(config=str(folder / 'teacher.py'), checkpoint=str(folder / 'teacher.pth'))


def student_config(folder, kind='bevdet'):
    """The config of a small camera detector of ``configs/detectors`` on two drawn samples, whose
    train pipeline loads the teacher's points, too. It trains for an epoch and tests into
    results.pkl."""
    write_nuscenes(folder / 'data')
    cfg = read_config(f'{ROOT}/configs/detectors/bevdet/{kind}_r18_8xb8-24e_nus-256x704.py')
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].update(num_workers=0, persistent_workers=False)
        dataset = innermost(cfg[loader].dataset)
        dataset.data_root = str(folder / 'data')
        dataset.modality = dict(use_lidar=True, use_camera=True)
        dataset.data_prefix.pts = 'samples/LIDAR_TOP'
        for step in dataset.pipeline:
            if step.type == 'mmkd.MultiViewImageAug':
                step.size = (64, 176)
            if step.type == 'mmkd.PackBEVInputs' and loader.startswith('train'):
                step['keys'] = ['points', *step['keys']]
    steps = innermost(cfg.train_dataloader.dataset).pipeline
    if not any(step.type == 'LoadPointsFromFile' for step in steps):
        steps.insert(0, dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5))
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.max_epochs = 1
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_evaluator = dict(type='DumpResults', out_file_path=str(folder / 'results.pkl'))
    cfg.model = narrow(cfg.model)
    return cfg


def distill_config(folder, distillations, kind='bevdet'):
    """:func:`student_config` under a teacher."""
    cfg = student_config(folder, kind)
    cfg.model = dict(type='mmkd.OfflineDistiller', student=cfg.model,
                     teacher=write_teacher(folder), distillations=distillations)
    return cfg


def without_boxes(folder, samples):
    """Take the boxes away from these samples of the drawn training set."""
    path = folder / 'data' / 'nuscenes_infos_train.pkl'
    infos = pickle.loads(path.read_bytes())
    for i in samples:
        infos['data_list'][i]['instances'] = []
    path.write_bytes(pickle.dumps(infos))
