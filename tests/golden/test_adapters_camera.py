"""The adapters of methods for cameras: what lies in other cases than the recorded ones."""
import numpy as np
import pytest

from tests.golden import handmade_camera as made
from tests.golden.files import CaseError
from tests.golden.handmade_3d import with_a_wrong_value, write_bare
from tests.golden.replay import replay

#: case -> its arguments and arrays
CASES = {
    'bevdistill_sparse_ordinary': made.bevdistill_sparse,
    'bevdistill_sparse_noteacher': lambda: made.bevdistill_sparse(0),
    'bevdistill_sparse_one': lambda: made.bevdistill_sparse(1, 1, 1),
    'bevdistill_sparse_few_queries': lambda: made.bevdistill_sparse(4, 2, 3),
    'bevdistill_sparse_plain': lambda: made.bevdistill_sparse(
        reweight=False, code_weights=[2.] * 5 + [.5] * 5),
    'simdistill_response_cls': made.simdistill_response,
    'simdistill_response_one_class': lambda: made.simdistill_response(1, 1, (2, 3), 1.),
    'simdistill_response_three': lambda: made.simdistill_response(1, 3, (3, 3)),
    'monodistill_ordinary': made.monodistill,
    'monodistill_noboxes': lambda: made.monodistill(counts=(0, 0)),
    'monodistill_noboxes_one': lambda: made.monodistill(counts=(0, 2)),
    'monodistill_levels': lambda: made.monodistill(counts=(1,), strides=(4, 8, 16), size=(5, 6)),
    'monodistill_nan': lambda: made.monodistill(nan=True),
}


def replayed(folder, name, args, arrays, dtype=np.float64):
    return replay(write_bare(folder, name, args, arrays, dtype))


def arrays_of(name):
    return {key: value for key, value in CASES[name]()[1].items()
            if key.startswith(('loss', 'grad', 'mask'))}


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('name', CASES)
def test_case_replays(tmp_path, name, dtype):
    args, arrays = CASES[name]()
    _, error, not_finite, problems = replayed(tmp_path, name, args, arrays, dtype)
    assert not problems and error < (1e-4 if dtype == np.float32 else 1e-9)
    assert (not_finite > 0) == any(not np.isfinite(x).all() for x in arrays_of(name).values())


@pytest.mark.parametrize('name, array', [
    (name, array) for name in CASES for array, value in arrays_of(name).items()
    if 0 < np.abs(value).max() < 1e30])
def test_a_wrong_value_fails(tmp_path, name, array):
    args, arrays = CASES[name]()
    arrays = with_a_wrong_value(arrays, array)
    problems = replayed(tmp_path, name, args, arrays)[3]
    assert len(problems) == 1 and array.removeprefix('grad_').removeprefix('w.') in problems[0]


@pytest.mark.parametrize('name, args, message', [
    ('bevdistill_sparse_ordinary', dict(cost_cls='focal 2.0'), 'not as released'),
    ('bevdistill_sparse_ordinary', dict(teacher_max_num=2), 'at most 2 boxes'),
    ('simdistill_response_cls', dict(beta=1.), 'beta must be 2'),
    ('simdistill_response_cls', dict(num_class=3), 'the number of maps, 2'),
    ('monodistill_ordinary', dict(weights=dict(head=1.)), 'unknown weights'),
    ('monodistill_ordinary', dict(strides=[8, 16, 32]), 'no map')])
def test_other_settings_are_refused(tmp_path, name, args, message):
    known, arrays = CASES[name]()
    with pytest.raises(CaseError, match=message):
        replayed(tmp_path, name, {**known, **args}, arrays)


def test_another_assignment_fails(tmp_path):
    args, arrays = CASES['bevdistill_sparse_ordinary']()
    arrays['assigned_last_layer'] = arrays['assigned_last_layer'][::-1].copy()
    problems = replayed(tmp_path, 'bevdistill_sparse_mixed', args, arrays)[3]
    assert len(problems) == 1 and 'assigned_last_layer' in problems[0]


@pytest.mark.parametrize('name', CASES)
def test_an_unknown_argument_or_array_fails(tmp_path, name):
    args, arrays = CASES[name]()
    with pytest.raises(CaseError, match='warmth'):
        replayed(tmp_path, name, {**args, 'warmth': 1.}, arrays)
    with pytest.raises(CaseError, match='oops'):
        replayed(tmp_path, name, args, {**arrays, 'oops': np.zeros(2)})
