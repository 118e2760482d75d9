"""Each task takes the deploy configs made for it and no other."""
import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack

from mmkd.deploy.choosing import check_layers, default_name, deploy_config_for
from mmkd.deploy.export import deploy_config_names
from mmkd.deploy.tasks import TASKS
from tests.cli import ROOT


@pytest.mark.parametrize('task', TASKS)
def test_every_pairing(task):
    task, names = TASKS[task], deploy_config_names()
    own = [name for name in names if name.startswith(f'{task.name}_')]
    assert default_name(task) in own
    for name in names:
        if name in own:
            assert deploy_config_for(task, name)[0] == name
            continue
        with pytest.raises(ValueError) as error:
            deploy_config_for(task, name)
        assert all(one in str(error.value) for one in (repr(name), *own))


def user_config(folder, base, backend):
    path = folder / 'mine.py'
    path.write_text(f"_base_ = '{ROOT}/configs/deploy/{base}.py'\n"
                    f"backend_config = dict(_delete_=True, type={backend!r})\n")
    return str(path)


@pytest.mark.parametrize('task', TASKS)
def test_a_backend_that_does_not_run_it(task, tmp_path):
    task = TASKS[task]
    for backend in {'openvino', 'tensorrt', 'ncnn'} - set(task.backends):
        with pytest.raises(ValueError, match=f'{backend}, which does not run.*{task.name}_onnx'):
            deploy_config_for(task, user_config(tmp_path, default_name(task), backend))


def test_every_config_is_of_a_backend_that_runs_its_task():
    for name in deploy_config_names():
        task, _, rest = name.partition('_')
        assert rest.partition('-')[0] in TASKS[task].backends, name


@pytest.mark.parametrize('kind', [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_openvino_has_no_deformable_convolution(kind):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), kind(3, 3, 3))
    with pytest.raises(ValueError, match='^1 is a deformable convolution.*onnxruntime.*dcn=False'):
        check_layers(model, 'openvino')
    check_layers(model, 'onnxruntime')
    check_layers(model[:1], 'openvino')
