"""When a term is looked at, and what is waited out; several processes."""
import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.logging import MessageHub

from mmkd.models import first_step
from mmkd.models.extras import Extras
from mmkd.models.first_step import FirstStep
from mmkd.models.libraries.mmseg import nothing_to_teach
from tests.helpers import build, make_batch, tiny_distiller
from tests.models.test_first_step import LabelLoss, Loss, Map, distiller, formula, refusal, step


def test_a_term_is_looked_at_in_its_first_active_step_only(monkeypatch):
    bad = formula(lambda s, t: 0 * s.mean())
    model = distiller(loss=bad, schedule=dict(type='stop', begin=2, end=9))
    for iteration in (0, 1):
        step(model, iteration)
    assert 'zero everywhere' in refusal(model, iteration=2)
    model = distiller(schedule=dict(type='linear', begin=1, end=3))
    looks = []
    kept = FirstStep.__call__
    monkeypatch.setattr(FirstStep, '__call__',
                        lambda self, *args: (looks.append(1), kept(self, *args)))
    for iteration in range(5):
        step(model, iteration)
    assert len(looks) == 1, 'off in steps 0 and 1, looked at in step 2, then no more'


@pytest.fixture
def of_ten_iterations():
    hub = MessageHub.get_current_instance()
    hub.update_info('max_iters', 10)
    yield
    hub.runtime_info.pop('max_iters')


@pytest.mark.parametrize('schedule', [
    dict(type='stop', end=0), dict(type='stop', begin=5, end=2),
    dict(type='stop', begin=10, end=20),
    dict(type='linear', begin=10, end=20), dict(type='linear', stop=0), dict(type='cosine', end=0),
    dict(type='step', milestones=[0], gamma=0)])
def test_a_term_that_is_never_on_is_refused(schedule, of_ten_iterations):
    model = distiller(schedule=schedule)
    with pytest.raises(RuntimeError, match="term 't' teaches the student nothing: its schedule, "
                                           '.* has it off in all 10 iterations'):
        step(model)


@pytest.mark.parametrize('schedule', [
    dict(type='stop', begin=9, end=10), dict(type='linear', begin=8, end=20),
    dict(type='stop', begin=0, end=1), dict(type='linear')])
def test_a_term_that_is_on_at_some_time_is_not(schedule, of_ten_iterations):
    model = distiller(schedule=schedule)
    for iteration in (0, 5, 9):  # resumed behind its end, too
        step(model, iteration)


def test_parts_of_a_loss_keep_their_names_while_it_is_off():
    both = formula(lambda s, t: dict(a=s.square().mean(), b=s.mean()))
    model = distiller(loss=both, schedule=dict(type='stop', begin=1, end=2))
    logs = [step(model, iteration) for iteration in range(3)]
    assert [[log[key] != 0 for key in ('loss_t_a', 'loss_t_b')] for log in logs] == [
        [False, False], [True, True], [False, False]]
    assert {frozenset(log) for log in logs} == {frozenset(logs[0])} and 'loss_t' not in logs[0]


def test_one_term_that_teaches_does_not_cover_another():
    terms = dict(good=dict(tap='logits', loss=dict(type='mmkd.KDLoss')),
                 t=dict(tap='logits', loss=formula(lambda s, t: 0 * s.mean())))
    refusal(build(tiny_distiller(terms)))


def ignored(batch):
    for sample in batch['data_samples']:
        sample.gt_sem_seg.data.fill_(255)
    return batch


def masked(s, t, labels):
    return (s.square().mean((1, 2, 3)) * (labels != 255).flatten(1).any(1)).sum()


def nothing_if_ignored(s, t, labels):
    return masked(s, t, labels) if (labels != 255).any() else torch.zeros(())


@pytest.mark.parametrize('of', [masked, nothing_if_ignored])
def test_a_batch_without_a_label_is_waited_out(of):
    model = distiller(loss=formula(of, LabelLoss))
    blank = model.data_preprocessor(ignored(make_batch()), True)
    full = model.data_preprocessor(make_batch(), True)
    for _ in range(2):
        assert model(**copy.deepcopy(blank), mode='loss')['loss_t'] == 0
        assert not model._first_step.done
    model(**full, mode='loss')
    assert model._first_step.done == {'t'}


def test_labels_that_vanish_at_the_size_of_the_map_are_waited_out():
    model = distiller(loss=formula(
        lambda s, t, labels: s.mean() * (labels[:, ::8, ::8] != 255).any(), LabelLoss))
    batch = ignored(make_batch())
    batch['data_samples'][0].gt_sem_seg.data[0, 3, 3] = 1
    model(**model.data_preprocessor(batch, True), mode='loss')
    assert not model._first_step.done


def test_waiting_ends_with_the_first_labels():
    model = distiller(loss=formula(lambda s, t, labels: 0 * s.mean(), LabelLoss))
    blank = model.data_preprocessor(ignored(make_batch()), True)
    model(**blank, mode='loss')
    refusal(model)
    bad = distiller(loss=formula(lambda s, t: 0 * s.mean()))
    with pytest.raises(RuntimeError, match='teaches the student nothing'):
        bad(**model.data_preprocessor(ignored(make_batch()), True), mode='loss')


class ChoosingLoss(Loss):
    chooses_places = True


def test_a_loss_that_chooses_places_may_find_none_for_a_while(monkeypatch):
    monkeypatch.setattr(first_step, 'PATIENCE', 3)
    chosen = []
    for cls, batches in ((Loss, 0), (ChoosingLoss, 3)):
        model = distiller(loss=formula(lambda s, t: s.mean() * len(chosen), cls))
        for iteration in range(batches):
            step(model, iteration)
        assert 'zero everywhere' in refusal(model, iteration=batches)
    model = distiller(loss=formula(lambda s, t: s.mean() * len(chosen), ChoosingLoss))
    step(model, 0)
    chosen.append('a place')
    step(model, 1)
    chosen.clear()
    for iteration in range(2, 9):  # it was seen to teach
        step(model, iteration)


def test_it_changes_nothing_of_the_step():
    cfg = tiny_distiller('mgd')
    looked, not_looked = build(cfg), build(cfg)
    not_looked._first_step.done.update(not_looked.distiller)
    for model in (looked, not_looked):
        torch.manual_seed(3)
        step(model)
    assert looked._first_step.done == set(looked.distiller)
    for key, value in looked.state_dict().items():
        assert torch.equal(value, not_looked.state_dict()[key]), key




# ---- several processes ----------------------------------------------------------------
def _look_on_rank(rank, folder):
    """What two ranks decide when they see different batches."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    model = distiller(loss=formula(masked, LabelLoss))
    term, results = model.distiller['t'], {}
    for name, scales in dict(both=(1., 1.), one=(0., 1.), none=(0., 0.),
                             nan=(1., float('nan'))).items():
        look, student = FirstStep(model.student, nothing_to_teach), Map(torch.float32).value
        try:
            look(term, student.sum() * scales[rank], student, student.detach() + 1,
                 Extras(dict(labels=lambda _: torch.zeros(2, 4, 4)), None, None, model.student))
            results[name] = look.done == {'t'}
        except RuntimeError as error:
            results[name] = str(error)
    torch.save(results, f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_ranks_decide_the_same(tmp_path):
    mp.spawn(_look_on_rank, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    assert first == second
    assert first['both'] is True and first['one'] is True
    assert 'NaN or infinite' in first['nan'] and 'zero everywhere' in first['none']
