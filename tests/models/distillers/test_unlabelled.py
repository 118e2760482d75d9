"""Batches without annotations: only the teacher teaches."""
import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from tests.helpers import build, make_batch, tiny_distiller, tiny_segmentor
from tests.models.distillers.common import small


def unlabelled(**kwargs):
    batch = make_batch(**kwargs)
    for sample in batch['data_samples']:
        del sample.gt_sem_seg
    return batch


def step(model, batch):
    model.train()
    return model.train_step(batch, build_optim_wrapper(model, dict(
        optimizer=dict(type='SGD', lr=0.1))))


STUDENTS = dict(plain=dict(), auxiliary=dict(aux=1), neck=dict(neck='FPN'), cascade=dict(
    cascade=True), psp=dict(head='PSPHead'))


@pytest.mark.parametrize('kind', STUDENTS)
def test_the_teacher_alone_teaches(kind):
    terms = small('fitnet')
    if kind == 'auxiliary':
        terms['side'] = dict(tap='aux_logits', loss=dict(type='mmkd.KDLoss'))
    model = build(dict(tiny_distiller(
        terms, tiny_segmentor(**STUDENTS[kind]), tiny_segmentor('PSPHead', 12, aux=1)),
        student_loss=False))
    before = {key: value.clone() for key, value in model.named_parameters()}
    log = step(model, unlabelled())
    assert set(log) == {'loss', *(f'loss_{name}' for name in terms)}
    assert all(value > 0 for value in log.values())
    torch.testing.assert_close(log['loss'], sum(v for k, v in log.items() if k != 'loss'))
    changed = [key for key, value in model.named_parameters()
               if not torch.equal(value, before[key])]
    assert any(key.startswith('backbone.') for key in changed)
    norm = next(m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked == 1, 'the student runs in train mode, once'


@pytest.mark.parametrize('own_inputs', [False, True])
@pytest.mark.parametrize('bare', [
    lambda batch: dict(inputs=batch['inputs']), lambda batch: dict(batch, data_samples=None),
    lambda batch: dict(batch, data_samples=[])], ids=['no_key', 'none', 'empty'])
def test_images_alone_are_enough(bare, own_inputs):
    teacher = tiny_segmentor('PSPHead', 12, **(dict(mean=[0.] * 3) if own_inputs else {}))
    losses = []
    for batch in (unlabelled(), bare(unlabelled())):
        model = build(dict(tiny_distiller('kd', teacher=teacher), student_loss=False))
        assert model.teachers['teacher'].own_inputs == own_inputs
        torch.manual_seed(0)
        losses.append(step(copy.deepcopy(model), batch)['loss_logits'])
    assert losses[0] == losses[1] > 0


def test_labels_are_left_aside_where_there_are_some():
    model = build(dict(tiny_distiller('kd'), student_loss=False))
    assert set(step(model, make_batch())) == {'loss', 'loss_logits'}


def test_in_every_other_mode_it_is_the_student():
    model = build(dict(tiny_distiller('kd'), student_loss=False)).eval()
    with torch.no_grad():
        x = torch.randn(2, 3, 32, 32)
        assert torch.equal(model(x), model.student(x))


@pytest.mark.parametrize('some', [False, True])
def test_missing_annotations_name_the_way_out(some):
    model = build(tiny_distiller('kd'))
    batch = unlabelled()
    if some:
        batch['data_samples'][0] = make_batch()['data_samples'][0]
    with pytest.raises(RuntimeError) as info:
        step(model, batch)
    for part in ('needs annotations', 'LoadAnnotations', 'student_loss=False'):
        assert part.replace('needs', 'need') in str(info.value)


def test_other_errors_of_the_student_stay_what_they_are():
    model = build(tiny_distiller('kd'))
    model.decode_head.loss_decode.forward = None
    with pytest.raises(TypeError):
        step(model, make_batch())


def test_a_loss_that_asks_for_labels_says_so():
    model = build(dict(tiny_distiller(small('cirkd')), student_loss=False))
    with pytest.raises(ValueError, match='a loss asks for labels.*no gt_sem_seg'):
        step(model, unlabelled())
    step(model, make_batch())
