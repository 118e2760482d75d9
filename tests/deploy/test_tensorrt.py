"""TensorRT's deploy configs: read, of the right task, with the sizes of the data. None is run."""
import pytest
from mmdeploy.utils import (
    get_backend,
    get_ir_config,
    get_model_inputs,
    get_task_type,
    is_dynamic_shape,
)

from mmkd.deploy.choosing import fix_size
from mmkd.deploy.export import deploy_config_names, read_deploy_config
from mmkd.deploy.voxels import fill_shapes
from tests.detectors3d import centerpoint

NAMES = [name for name in deploy_config_names() if '_tensorrt' in name]
TASKS = {'segmentation': 'Segmentation', 'detection': 'ObjectDetection',
         'instance-segmentation': 'ObjectDetection', 'mono-detection': 'MonoDetection'}
VOXELS = 'voxel-detection_tensorrt'


def test_there_are_some():
    assert {'segmentation_tensorrt-static', 'segmentation_tensorrt-dynamic', VOXELS} <= set(NAMES)


@pytest.mark.parametrize('name', [name for name in NAMES if name != VOXELS])
def test_task_and_sizes(name):
    cfg = read_deploy_config(name)
    assert get_backend(cfg).value == 'tensorrt'
    assert get_task_type(cfg).value == TASKS[name.split('_')[0]]
    assert is_dynamic_shape(cfg) == name.endswith('-dynamic')
    assert cfg.codebase_config.module == ['mmkd.deploy']
    fix_size(cfg, (128, 256))
    shapes = get_model_inputs(cfg)[0]['input_shapes']['input']
    assert list(shapes['opt_shape']) == [1, 3, 128, 256]
    for low, middle, high in zip(*(shapes[f'{kind}_shape'] for kind in ('min', 'opt', 'max')),
                                 strict=True):
        assert low <= middle <= high
        assert name.endswith('-dynamic') or low == high
    assert get_ir_config(cfg).get('input_shape') == (None if name.endswith('-dynamic')
                                                     else [256, 128])


def test_pillars_take_the_models_shapes():
    cfg = read_deploy_config(VOXELS)
    assert get_task_type(cfg).value == 'VoxelDetection'
    fill_shapes(cfg, centerpoint())  # 2000 pillars of 5 points with 5 numbers
    shapes = get_model_inputs(cfg)[0]['input_shapes']
    for name, rest in dict(voxels=[5, 5], num_points=[], coors=[4]).items():
        assert [list(shapes[name][f'{kind}_shape']) for kind in ('min', 'opt', 'max')] == [
            [1, *rest], [1000, *rest], [2000, *rest]]
