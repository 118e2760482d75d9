"""The losses that a distiller gives: names, weights, teachers, terms that are over."""
import pytest
import torch

from mmkd.models.schedules import Time
from tests.helpers import (
    build,
    make_batch,
    preprocessor,
    save_teacher,
    tiny_distiller,
    tiny_segmentor,
)
from tests.models.distillers.common import SILENT, build_quiet, small, train_steps


def test_loss_names_and_weights():
    terms = small('cirkd')
    model = build(tiny_distiller(terms))
    log = train_steps(model, 1)[0]
    assert set(log) == {'loss', 'decode.loss_ce', 'decode.acc_seg', 'loss_logits',
                        'loss_minibatch', 'loss_memory_pixel', 'loss_memory_region'}
    total = sum(v for k, v in log.items() if k not in ('loss', 'decode.acc_seg'))
    torch.testing.assert_close(log['loss'], total)


def test_a_weight_multiplies_its_term():
    values = []
    for weight in (1., 3.):
        terms = small('kd')
        terms['logits']['weight'] = weight
        values.append(train_steps(build(tiny_distiller(terms)), 1)[0]['loss_logits'])
    torch.testing.assert_close(values[1], values[0] * 3)


def test_several_teachers(tmp_path):
    (tmp_path / 'a').mkdir(), (tmp_path / 'b').mkdir()
    wide = tiny_segmentor('PSPHead', width=12)
    sources = {name: save_teacher(tmp_path / name, wide, seed)
               for seed, name in enumerate('ab', 1)}
    teachers = {name: dict(config=c, checkpoint=k) for name, (c, k) in sources.items()}

    def log_of(teacher, **terms):
        cfg = dict(tiny_distiller(terms), teacher=teacher)
        return train_steps(build(cfg), 1)[0]

    loss = dict(tap='logits', loss=dict(type='mmkd.KDLoss'))
    both = log_of(teachers, one=dict(loss, teacher='a'), two=dict(loss, teacher='b'))
    first, second = (log_of(teachers[name], one=loss)['loss_one'] for name in 'ab')
    assert both['loss_one'] == first and both['loss_two'] == second and first != second


def test_stop_leaves_the_teacher_idle_and_gradients_zero():
    terms = small('mgd')
    for term in terms.values():
        term['schedule'] = SILENT
    model = build(tiny_distiller(terms))
    data = model.data_preprocessor(make_batch(), True)
    losses = model(**data, mode='loss')
    assert losses['loss_feature'] == 0 and losses['loss_logits'] == 0
    model.parse_losses(losses)[0].backward()
    # DistributedDataParallel waits for a gradient of every parameter.
    assert all(p.grad is not None for p in model.parameters())
    assert not any(p.grad.any() for p in model.distiller.parameters())


def test_a_stopped_term_is_zero_even_if_its_features_are_huge():
    terms = dict(f=dict(tap='logits', schedule=SILENT, loss=dict(type='mmkd.KDLoss')))
    term = build(tiny_distiller(terms)).distiller['f']
    student = torch.full((1, 4, 64, 64), 6e4, dtype=torch.float16, requires_grad=True)
    loss = term(student, None, Time(0, 10), None)['loss_f']
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_a_name_of_the_students_losses_is_refused():
    terms = dict(own=dict(student_tap='conv', teacher_tap='logits',
                          loss=dict(type='mmkd.KDLoss')))
    model = build_quiet(tiny_distiller(
        terms, dict(type='mmkd.OwnTensors', data_preprocessor=preprocessor())))
    with pytest.raises(RuntimeError, match="'loss_own', a name the student has already"):
        train_steps(model, 1)
