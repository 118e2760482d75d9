"""A narrower student starts from channels of its teacher: it is the teacher without the others."""
import pytest
import torch
from mmengine.registry import DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

from tests.detectors3d import bev_batch, bev_distiller, centerpoint, pointpillars
from tests.helpers import build

TERMS = dict(heat=dict(tap='heatmap', loss=dict(type='mmkd.FitNetLoss')))
FEATURES = dict(feature=dict(tap='bev', student_connector=dict(type='mmkd.ConvConnector'),
                             loss=dict(type='mmkd.FitNetLoss')))


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('narrow', scope_name='mmdet3d')


def teacher_file(path, keep, make, narrow):
    """Weights of a teacher of which ``keep`` finds half of the channels alive where the student
    has half of them, and all of them elsewhere; the other channels are zero after their norm."""
    torch.manual_seed(3)
    model, widths = build(make(16)), dict(build(narrow).named_modules())
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        count, kept = module.num_features, widths[name].num_features
        torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        torch.nn.init.uniform_(module.bias, -.2, .2)
        module.running_mean.uniform_(-.1, .1), module.running_var.uniform_(.5, 2.)
        dead = torch.arange(count) >= kept if keep == 'first' else torch.randperm(count) >= kept
        module.weight.data[dead], module.bias.data[dead] = 0., 0.
        if keep == 'bn_scale':  # the absolute scale counts
            module.weight.data[::2] *= -1
    torch.save(model.state_dict(), path)
    return str(path)


def predictions(model, features):
    data = model.data_preprocessor(bev_batch(features=features), False)
    model.eval()
    with torch.no_grad():
        outs = model._forward(data['inputs'], data['data_samples']) if hasattr(
            model, '_forward') and hasattr(model, 'bbox_head') else model.pts_bbox_head(
            model.extract_feat(data['inputs'], [s.metainfo for s in data['data_samples']])[1])
    return [x for task in outs for part in task
            for x in (part.values() if isinstance(part, dict) else [part])]


@pytest.mark.parametrize('keep', ['first', 'bn_scale'])
@pytest.mark.parametrize('make, features, terms', [
    (centerpoint, 5, TERMS), (pointpillars, 4, FEATURES)], ids=['CenterPoint', 'PointPillars'])
def test_the_student_is_the_teacher_without_its_dead_channels(tmp_path, keep, make, features,
                                                              terms):
    file = teacher_file(tmp_path / 'teacher.pth', keep, make, make(8))
    model = build(bev_distiller(terms, make(8), make(16), init_student=dict(keep=keep),
                                teacher_args=dict(checkpoint=file)))
    teacher = model.teachers['teacher'].model
    for restarted in (False, True):
        if restarted:
            model.init_weights()
        ours, theirs = predictions(model.student, features), predictions(teacher, features)
        assert len(ours) == len(theirs) > 2
        for one, other in zip(ours, theirs, strict=True):
            assert one.std() > 0
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_equal_widths_are_copied_whole():
    model = build(bev_distiller(TERMS, centerpoint(8), centerpoint(8),
                                init_student=dict(keep='bn_scale', teacher='teacher')))
    theirs = model.teachers['teacher'].model.state_dict()
    for key, value in model.student.state_dict().items():
        assert torch.equal(value, theirs[key]), key


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="init_student: keep='best', expected one of 'first'"):
        build(bev_distiller(TERMS, init_student=dict(keep='best')))
    with pytest.raises(ValueError, match="init_student.*'keeps'"):
        build(bev_distiller(TERMS, init_student=dict(keeps='first')))
    with pytest.raises(ValueError, match=r"init_student='x': expected .*'teacher'"):
        build(bev_distiller(TERMS, init_student=dict(keep='first', teacher='x')))
    with pytest.raises(ValueError, match='init_student: .* the student nowhere wider'):
        build(bev_distiller(TERMS, centerpoint(16), centerpoint(8),
                            init_student=dict(keep='first')))
