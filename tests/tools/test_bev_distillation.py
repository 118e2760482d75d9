"""The tools on a camera detector that a LiDAR detector teaches: check, train, test, export."""
import pickle

import pytest
import torch
from mmengine.config import Config

from mmkd.utils.configs import read_config
from tests.cli import ROOT, run
from tests.configs.test_bevdet_configs import innermost, narrow
from tests.datasets.nuscenes_folders import write_nuscenes
from tests.detectors3d import centerpoint
from tests.helpers import build

pytestmark = pytest.mark.slow
CLASSES = ('car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle',
           'bicycle', 'pedestrian', 'traffic_cone')
AREA = (-51.2, -51.2, -5., 51.2, 51.2, 3.)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """nuScenes' folders, a teacher's config and weights, and a distillation of one epoch."""
    folder = tmp_path_factory.mktemp('bev')
    write_nuscenes(folder / 'data')
    teacher = centerpoint(area=AREA, size=0.8, tasks=(CLASSES,))
    Config(dict(default_scope='mmdet3d', model=teacher)).dump(str(folder / 'teacher.py'))
    torch.save(dict(state_dict=build(teacher).state_dict(), meta={}), folder / 'teacher.pth')
    cfg = read_config(f'{ROOT}/configs/detectors/bevdet/bevdet_r18_8xb8-24e_nus-256x704.py')
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
    steps.insert(0, dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5))
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.max_epochs = 1
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_evaluator = dict(type='DumpResults', out_file_path=str(folder / 'results.pkl'))
    cfg.model = dict(
        type='mmkd.OfflineDistiller', student=narrow(cfg.model),
        teacher=dict(config=str(folder / 'teacher.py'), checkpoint=str(folder / 'teacher.pth')),
        distillations=dict(
            feature=dict(tap='bev', loss=dict(type='mmkd.FitNetLoss'),
                         student_connector=dict(type='mmkd.ConvConnector')),
            heat=dict(tap='heatmap', loss=dict(type='mmkd.FitNetLoss'))))
    (folder / 'distill.py').write_text(cfg.pretty_text)
    run('train.py', 'distill.py', '--work-dir', 'trained', cwd=folder)
    return folder


def test_what_it_would_train_is_told(project, here):
    told, _ = here.run('train.py', 'distill.py', '--check', cwd=project)
    for part in ('puts points into voxels in its own way', 'NuScenesDataset, 2 samples',
                 'term heat', 'loss_feature', '2 points of ', '2 img of 6 x 3 x 64 x 176'):
        assert part in told, (part, told)


def test_a_pipeline_without_points_is_told(project, here):
    text = (project / 'distill.py').read_text().replace("'points',", '')
    (project / 'without.py').write_text(text)
    told = here.fails('train.py', 'without.py', '--check', cwd=project)
    assert 'the teacher (CenterPoint) reads points, but the pipeline of train_dataloader' in told


def test_the_student_alone_is_tested_and_exported(project, here):
    saved = torch.load(project / 'trained' / 'epoch_1.pth', weights_only=True)['state_dict']
    assert 'img_view_transformer.depth_net.weight' in saved
    assert not [key for key in saved if 'voxel' in key or 'middle_encoder' in key]
    here.run('test.py', 'distill.py', 'trained/epoch_1.pth', cwd=project)
    with open(project / 'results.pkl', 'rb') as file:
        assert len(pickle.load(file)) == 2
    here.run('export_student.py', 'distill.py', 'trained/epoch_1.pth', '--out', 'student',
             cwd=project)
    from mmdet3d.apis import init_model
    config, weights = (next((project / 'student').glob(f'*.{end}')) for end in ('py', 'pth'))
    model = init_model(Config.fromfile(config), str(weights), device='cpu')
    assert type(model).__name__ == 'BEVDet'
    for key, value in model.state_dict().items():
        assert torch.equal(value, saved[key]), key


def test_its_taps_are_listed(project, here):
    told, _ = here.run('browse_taps.py', 'distill.py', '--depth', '1', cwd=project)
    for part in ('BEV maps cover x -51.2 to 51.2 m, y -51.2 to 51.2 m', 'cells of 0.8 m',
                 'cells of 1.6 m', 'not in the student'):
        assert part in told, (part, told)


def test_its_terms_are_weighed(project, here):
    told, _ = here.run('weigh_terms.py', 'distill.py', '--batches', '1', cwd=project)
    for part in ('feature', 'heat', 'cells of 0.8 m'):
        assert part in told, (part, told)
