"""The losses that a distiller gives: names, weights, teachers, terms that are over."""
import pytest
import torch
from mmengine.logging import MessageHub

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


def test_a_weight_that_changes_is_logged_and_not_summed():
    MessageHub.get_current_instance().update_info('iter', 5)
    try:
        terms = dict(
            loss_a=dict(tap='logits', loss=dict(type='mmkd.KDLoss'), weight=4.,
                        schedule=dict(type='linear', end=10)),
            b=dict(tap='logits', loss=dict(type='mmkd.KDLoss'), weight=3.))
        log = train_steps(build(tiny_distiller(terms)), 1)[0]
    finally:
        MessageHub.get_current_instance().update_info('iter', 0)
    assert log['weight_loss_a'] == 2. and 'weight_b' not in log
    own = [log[key] for key in ('decode.loss_ce', 'loss_loss_a', 'loss_b')]
    torch.testing.assert_close(log['loss'], sum(own))


def test_teachers_and_weights_are_told_when_it_is_built(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr('mmkd.models.distillers.assembly.print_log',
                        lambda text, **_: told.append(text))
    _, file = save_teacher(tmp_path)
    other = tiny_segmentor('PSPHead', width=12, mean=[1., 2., 3.])
    terms = dict(one=dict(tap='logits', loss=dict(type='mmkd.KDLoss'), weight=3., teacher='a'),
                 two=dict(tap='logits', loss=dict(type='mmkd.KDLoss'), teacher='b',
                          schedule=dict(type='cosine', end=100)))
    model = build(dict(tiny_distiller(terms), teacher=dict(
        a=dict(config=tiny_segmentor('PSPHead', width=12), checkpoint=file),
        b=dict(config=other, allow_random=True, dtype='bf16'))))
    count = f"{sum(p.numel() for p in model.teachers['a'].model.parameters()):,} parameters"
    lines = {line.split(':')[0]: line for line in told}
    for part in (f'weights from {file}', count, "the student's inputs", 'exact'):
        assert part in lines["teacher 'a'"]
    for part in ('random weights', count, 'its own inputs (another normalisation', 'bf16'):
        assert part in lines["teacher 'b'"]
    assert 'weight 3' in lines["term 'one'"] and 'schedule' not in lines["term 'one'"]
    assert 'weight 1, which its schedule changes (logged as weight_two)' in lines["term 'two'"]
