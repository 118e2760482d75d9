"""The tools on mmkd's BEVDet, without any distiller: train, test and draw."""
import pickle

import cv2
import pytest
import torch

from mmkd.utils.configs import read_config
from tests.cli import ROOT, run
from tests.configs.test_bevdet_configs import innermost, narrow
from tests.datasets.nuscenes_folders import write_nuscenes

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """nuScenes' folders, a small BEVDet with the frame before, trained for an epoch."""
    folder = tmp_path_factory.mktemp('bev')
    write_nuscenes(folder / 'data')
    cfg = read_config(f'{ROOT}/configs/detectors/bevdet/bevdet4d_r18_8xb8-24e_nus-256x704.py')
    cfg.model = narrow(cfg.model)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].update(num_workers=0, persistent_workers=False)
        dataset = innermost(cfg[loader].dataset)
        dataset.data_root = str(folder / 'data')
        for step in dataset.pipeline:
            if step.type == 'mmkd.MultiViewImageAug':
                step.size = (64, 176)
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.max_epochs = 1
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_evaluator = dict(type='DumpResults', out_file_path=str(folder / 'results.pkl'))
    (folder / 'small.py').write_text(cfg.pretty_text)
    run('train.py', 'small.py', '--work-dir', 'trained', cwd=folder)
    return folder


def test_it_trains(project):
    saved = torch.load(project / 'trained' / 'epoch_1.pth', weights_only=True)
    assert 'img_view_transformer.depth_net.weight' in saved['state_dict']


def test_it_is_tested(project, here):
    here.run('test.py', 'small.py', 'trained/epoch_1.pth', cwd=project)
    with open(project / 'results.pkl', 'rb') as file:
        results = pickle.load(file)
    assert [result['sample_idx'] for result in results] == [0, 1]
    assert all(result['pred_instances_3d']['bboxes_3d'].tensor.shape[1] == 9 for result in results)


def test_it_is_drawn(project, here):
    here.run('draw_bev.py', 'small.py', 'trained/epoch_1.pth', '--out', 'pictures', '--pictures',
             '2', cwd=project)
    for name in ('00000.png', '00001.png'):
        picture = cv2.imread(str(project / 'pictures' / name))
        assert picture.shape == (2 * 64 + 6, 3 * (176 + 6) - 6 + 6 + 134, 3)


def test_what_is_missing_is_told(project, here):
    message = here.fails('train.py', 'small.py', '--check', '--cfg-options',
                         'train_dataloader.dataset.dataset.data_root=nowhere', cwd=project)
    assert 'nowhere' in message and 'does not exist' in message
    message = here.fails('draw_bev.py', 'small.py', 'trained/none.pth', '--out', 'pictures',
                         cwd=project)
    assert 'none.pth' in message
