"""The tools on a camera detector that a LiDAR detector teaches: check, train, test, export."""
import pickle

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from mmkd.apis import build_model
from mmkd.utils.configs import read_config
from tests.bev_project import distill_config
from tests.cli import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """nuScenes' folders, a teacher's config and weights, and a distillation of one epoch."""
    folder = tmp_path_factory.mktemp('bev')
    cfg = distill_config(folder, dict(
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
    model.load_state_dict(torch.load(weights, weights_only=True)['state_dict'], strict=True)


def test_the_student_predicts_from_images_alone(project, here):
    """What training wrote, in stock mmdet3d and in tools/test.py, where there are no sweeps."""
    from mmdet3d.apis import init_model
    cfg, file = read_config(str(project / 'distill.py')), str(project / 'trained' / 'epoch_1.pth')
    (project / 'data' / 'samples' / 'LIDAR_TOP').rename(project / 'sweeps')
    try:
        here.run('test.py', 'distill.py', 'trained/epoch_1.pth', cwd=project)
        with DefaultScope.overwrite_default_scope('mmdet3d'):
            data = DATASETS.build(cfg.test_dataloader.dataset)
            batch = pseudo_collate([data[0]])
            distiller = build_model(cfg)
            distiller.load_state_dict(torch.load(file, weights_only=True)['state_dict'])
            taught, = distiller.eval().test_step(batch)
            cfg.model = cfg.model.student
            alone, = init_model(Config(cfg.to_dict()), file, device='cpu').test_step(batch)
    finally:
        (project / 'sweeps').rename(project / 'data' / 'samples' / 'LIDAR_TOP')
    assert list(batch['inputs']) == ['img']
    one, other = (result.pred_instances_3d for result in (taught, alone))
    assert len(one) and torch.equal(one.bboxes_3d.tensor, other.bboxes_3d.tensor)
    assert torch.equal(one.scores_3d, other.scores_3d)


def test_its_taps_are_listed(project, here):
    told, _ = here.run('browse_taps.py', 'distill.py', '--depth', '1', cwd=project)
    for part in ('BEV maps cover x -51.2 to 51.2 m, y -51.2 to 51.2 m', 'cells of 0.8 m',
                 'cells of 1.6 m', 'not in the student'):
        assert part in told, (part, told)


def test_its_terms_are_weighed(project, here):
    told, _ = here.run('weigh_terms.py', 'distill.py', '--batches', '1', cwd=project)
    for part in ('feature', 'heat', 'cells of 0.8 m'):
        assert part in told, (part, told)
