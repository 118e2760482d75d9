"""Schedules: values at times worked out by hand, and errors."""
import copy
import pickle

import pytest

from mmkd.models.schedules import Time, build_schedule

HALF = 2 ** 0.5 / 2


@pytest.mark.parametrize('cfg, values', [
    (None, {0: 1, 99: 1}),
    (dict(type='constant'), {0: 1, 99: 1}),
    (dict(type='linear'), {0: 0, 25: 0.25, 50: 0.5, 99: 0.99, 100: 1}),
    (dict(type='linear', begin=10, end=20), {0: 0, 10: 0, 15: 0.5, 20: 1, 90: 1}),
    (dict(type='linear', begin=0.1, end=0.2), {0: 0, 10: 0, 15: 0.5, 20: 1, 90: 1}),
    (dict(type='linear', begin=0, end=10, start=3., stop=1), {0: 3, 5: 2, 10: 1, 50: 1}),
    (dict(type='linear', begin=10, end=10), {9: 0, 10: 1}),
    (dict(type='cosine'), {0: 1, 25: (1 + HALF) / 2, 50: 0.5, 75: (1 - HALF) / 2, 100: 0}),
    (dict(type='cosine', begin=50, end=100, start=2., stop=1.), {0: 2, 50: 2, 75: 1.5, 100: 1}),
    (dict(type='step', milestones=[10, 20]), {9: 1, 10: 0.1, 19: 0.1, 20: 0.01, 90: 0.01}),
    (dict(type='step', milestones=[0.5], gamma=0), {49: 1, 50: 0}),
    (dict(type='stop', end=30), {0: 1, 29: 1, 30: 0, 99: 0}),
    (dict(type='stop', begin=10, end=0.3), {9: 0, 10: 1, 29: 1, 30: 0}),
    (dict(type='stop', end=1.), {0: 1, 99: 1}),
])
def test_values(cfg, values):
    schedule = build_schedule(cfg)
    for iteration, expected in values.items():
        assert schedule(Time(iteration, 100)) == pytest.approx(expected, abs=1e-12), iteration
    twin = pickle.loads(pickle.dumps(copy.deepcopy(schedule)))
    assert twin(Time(15, 100)) == schedule(Time(15, 100))


def test_iterations_need_no_total_and_fractions_do():
    assert build_schedule(dict(type='linear', end=10))(Time(5)) == 0.5
    assert build_schedule(dict(type='stop', end=5))(Time(5)) == 0
    with pytest.raises(ValueError, match='outside a Runner; give iterations'):
        build_schedule(dict(type='linear', end=0.5))(Time(5))


def test_progress():
    assert [Time(i, 100).progress for i in (0, 25, 100, 120)] == [0, 0.25, 1, 1]
    assert Time(5).progress == 0


@pytest.mark.parametrize('cfg, message', [
    (dict(type='linaer'), "'linaer' is none of constant, .*did you mean 'linear'"),
    (dict(begin=1), 'None is none of'),
    ('linear', "is a dict such as dict\\(type='linear'\\), not 'linear'"),
    (3, 'not 3'),
    (dict(type='linear', stopp=1), "no argument 'stopp'.*did you mean 'stop'"),
    (dict(type='constant', end=1), "no argument 'end' \\(it has none\\)"),
    (dict(type='linear', t=1), "no argument 't'"),
    (dict(type='step'), 'needs milestones'),
    (dict(type='stop'), 'needs end'),
    (dict(type='step', milestones=5), 'milestones must be a list.*not 5'),
    (dict(type='step', milestones=['a']), "the time 'a' is neither"),
    (dict(type='step', milestones=[1.5]), 'the time 1.5 is neither'),
    (dict(type='linear', end=-1), 'the time -1 is neither'),
    (dict(type='linear', end=True), 'the time True is neither'),
    (dict(type='linear', end='1000'), "the time '1000' is neither"),
    (dict(type='linear', end=1000.), 'the time 1000.0 is neither'),
    (dict(type='linear', end=float('nan')), 'the time nan is neither'),
    (dict(type='linear', start='a'), "start must be a number, not 'a'"),
    (dict(type='step', milestones=[1], gamma=None), 'gamma must be a number, not None'),
])
def test_errors(cfg, message):
    with pytest.raises(ValueError, match=message):
        build_schedule(cfg)
