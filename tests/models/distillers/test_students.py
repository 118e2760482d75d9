"""Kinds of students: a config, a file, a module, one with tensors of its own."""
import copy

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from tests.helpers import build, preprocessor, save_teacher, tiny_distiller, tiny_segmentor
from tests.models.distillers.common import OwnTensors, build_quiet, own_tensors, train_steps


def test_tensors_directly_on_the_student():
    model = own_tensors()
    assert {'scale', 'steps', 'norm.weight', 'conv.weight'} <= set(model.state_dict())
    assert 'scratch' not in model.state_dict()
    before = model.scale.detach().clone()
    train_steps(model, 2)
    assert model.steps.item() == 2  # the dry run left no trace
    assert model.scale is model.student.scale and not torch.equal(model.scale, before)
    other = copy.deepcopy(model).double()
    assert other.scale is other.student.scale and other.scale.dtype == torch.float64
    other.load_state_dict({**model.state_dict(), 'steps': torch.tensor([7.])})
    assert other.student.steps.item() == 7 and model.student.steps.item() == 2


def test_a_module_as_student():
    student = OwnTensors(preprocessor())
    model = own_tensors(student)
    assert model.student is student
    train_steps(model, 1)
    assert student.steps.item() == 1


def test_sync_batchnorm_conversion_reaches_the_student():
    convert = nn.SyncBatchNorm.convert_sync_batchnorm
    model = convert(own_tensors())
    assert isinstance(model.norm, nn.SyncBatchNorm) and model.student.norm is model.norm
    model = revert_sync_batchnorm(model)
    assert not isinstance(model.norm, nn.SyncBatchNorm) and model.student.norm is model.norm
    train_steps(model, 1)
    model = convert(build(tiny_distiller('kd')))
    kinds = {type(m) for m in model.student.modules() if 'Norm' in type(m).__name__}
    assert kinds == {nn.SyncBatchNorm}
    assert nn.SyncBatchNorm not in {type(m) for m in model.teachers['teacher'].model.modules()}


def test_a_replaced_child_is_replaced_in_the_student():
    model = build(tiny_distiller('kd'))
    head = copy.deepcopy(model.decode_head)
    model.decode_head = head
    assert model.student.decode_head is head


def test_student_from_a_config_file(tmp_path):
    config, _ = save_teacher(tmp_path, tiny_segmentor('PSPHead'))
    model = build_quiet(tiny_distiller('kd', dict(config=config)))
    assert type(model.decode_head).__name__ == 'PSPHead'
    bare = build_quiet(tiny_segmentor('PSPHead'))
    for key, value in bare.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


def test_preprocessor_of_the_runner_is_for_a_student_without_one():
    student = tiny_segmentor()
    del student['data_preprocessor']
    cfg = tiny_distiller('kd', student)
    model = build_quiet(dict(cfg, data_preprocessor=preprocessor(mean=[1., 2., 3.])))
    assert model.data_preprocessor.mean.flatten().tolist() == [1., 2., 3.]
    assert model.student.data_preprocessor is model.data_preprocessor


@pytest.mark.parametrize('student, message', [
    ('mmseg::x.py', 'student must be a model config or a module'),
    (dict(type='mmkd.OwnTensors', data_preprocessor=preprocessor(), distiller=1), 'distiller')])
def test_wrong_students(student, message):
    with pytest.raises((ValueError, TypeError), match=message):
        own_tensors(student)
