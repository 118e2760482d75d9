"""The whole command for each task, on drawn data that the model has learned."""
import json
import math

import pytest

from mmkd.deploy.command import deploy
from mmkd.deploy.tasks import TASKS
from tests.deploy import projects

NUSCENES = 'NuScenes metric/pred_instances_3d_NuScenes/mAP'
#: task -> (config of the data's root, rate of learning it, the data set's main metric)
LEARNED = {
    'detection': (lambda data: projects.coco_config(data, 'gfl'), 3e-3, 'coco/bbox_mAP'),
    'instance-segmentation': (
        lambda data: projects.coco_config(data, 'mask'), 2e-3, 'coco/segm_mAP'),
    'voxel-detection': (projects.voxel_config, 1e-2, NUSCENES),
    'mono-detection': (projects.mono_config, 1e-2, NUSCENES),
    'bev-detection': (projects.bev_config, 1e-2, NUSCENES)}


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    return projects.coco(tmp_path_factory.mktemp('coco') / 'data')


@pytest.fixture(scope='module')
def nuscenes(tmp_path_factory):
    return projects.nuscenes(tmp_path_factory.mktemp('nuscenes') / 'data')


def run(folder, **options):
    return deploy(str(folder / 'model.py'), str(folder / 'model.pth'), str(folder / 'out'),
                  threads=1, say=lambda line: None, **options)


@pytest.mark.parametrize('task', LEARNED)
def test_boxes_and_metric_are_those_of_pytorch(task, request, tmp_path):
    config, rate, main = LEARNED[task]
    data = request.getfixturevalue('coco' if main.startswith('coco') else 'nuscenes')
    projects.write_project(tmp_path, config(data), rate=rate)
    run(tmp_path)
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['deploy_config'].startswith(f'{task}_onnxruntime')
    assert all(check['ok'] for check in report['parity']['checks'])
    values = report['metric']['values']
    assert values[main][0] > 0.02  # else the next line says nothing
    for name, (one, other) in values.items():
        assert abs(one - other) <= 5e-4 or (math.isnan(one) and math.isnan(other)), name
    assert report['size']['flops'] > report['size']['parameters']
    assert set(report['latency']['seconds']) == {'PyTorch', 'onnxruntime'}
    assert bool(report['sdk']) == (TASKS[task].name in ('detection', 'instance-segmentation'))
    wrong = 'detection_onnxruntime-static' if task != 'detection' else 'mono-detection_onnxruntime'
    with pytest.raises(ValueError, match=f'{wrong}.* is for .*take {task}_onnxruntime'):
        run(tmp_path, deploy_cfg=wrong)
    if 'NuScenes' in main:  # whose metric is of the whole set alone
        few = run(tmp_path, samples=1)
        assert few['metric'] is None and few['parity']['samples'] == 1
        assert any('the whole validation set' in note for note in few['notes'])
