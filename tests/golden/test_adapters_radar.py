"""The adapters of methods with a radar: what lies in other cases than the recorded ones."""
import numpy as np
import pytest

from tests.golden import handmade_radar as made
from tests.golden.files import CaseError
from tests.golden.handmade_3d import with_a_wrong_value, write_bare
from tests.golden.replay import replay

#: case -> its arguments and arrays
CASES = {
    'crkd_ordinary': made.crkd,
    'crkd_noboxes': lambda: made.crkd(((), ())),
    'crkd_noboxes_one': lambda: made.crkd(((), ((9, 0, 1, 200), (-5, -5, -1, -1)))),
    'crkd_unsure': lambda: made.crkd(shift=-5.),
    'crkd_blind': lambda: made.crkd((((1, 1, 3, 3),),), shift=-20., task_weights=(1.,)),
    'crkd_no_adapter': lambda: made.crkd(sizes=(4,), adapt=False),
    'radardistill_ordinary': made.radardistill,
    'radardistill_noboxes': lambda: made.radardistill(boxes=False),
    'radardistill_noactive': lambda: made.radardistill(active=False),
    'radardistill_one_sample': lambda: made.radardistill(1, size=(5, 5), tasks=(2,)),
}


def replayed(folder, name, args, arrays, dtype=np.float64):
    return replay(write_bare(folder, name, args, arrays, dtype))


def expected(name):
    return {key: value for key, value in CASES[name]()[1].items()
            if key.startswith(('loss', 'grad'))}


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('name', CASES)
def test_case_replays(tmp_path, name, dtype):
    args, arrays = CASES[name]()
    _, error, not_finite, problems = replayed(tmp_path, name, args, arrays, dtype)
    assert not problems and error < (1e-4 if dtype == np.float32 else 1e-9)
    assert not_finite == sum(not np.isfinite(x).all() for x in expected(name).values())
    assert bool(not_finite) == name.endswith('noactive')


@pytest.mark.parametrize('name, array', [
    (name, array) for name in CASES for array, value in expected(name).items()
    if np.isfinite(value).all() and np.abs(value).max() > 0])
def test_a_wrong_value_fails(tmp_path, name, array):
    args, arrays = CASES[name]()
    arrays = with_a_wrong_value(arrays, array)
    problems = replayed(tmp_path, name, args, arrays)[3]
    assert len(problems) == 1 and array.removeprefix('grad_') in problems[0]


@pytest.mark.parametrize('name, args, message', [
    ('crkd_ordinary', dict(qfl_beta=1.), 'qfl_beta must be 2'),
    ('crkd_ordinary', dict(task_weights=[2.]), '2 tasks and the task_weights'),
    ('crkd_ordinary', dict(downsample_sizes=[4, 3, 2]), 'no recorded weight')])
def test_other_settings_are_refused(tmp_path, name, args, message):
    known, arrays = CASES[name]()
    with pytest.raises(CaseError, match=message):
        replayed(tmp_path, name, {**known, **args}, arrays)


@pytest.mark.parametrize('name', CASES)
def test_an_unknown_argument_or_array_fails(tmp_path, name):
    args, arrays = CASES[name]()
    with pytest.raises(CaseError, match='warmth'):
        replayed(tmp_path, name, {**args, 'warmth': 1.}, arrays)
    with pytest.raises(CaseError, match='oops'):
        replayed(tmp_path, name, args, {**arrays, 'oops': np.zeros(2)})
