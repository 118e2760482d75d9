"""The adapter of TiG-BEV against loops, and what it refuses."""
import numpy as np
import pytest

from tests.golden.files import CaseError
from tests.golden.handmade_3d import with_a_wrong_value, write_bare
from tests.golden.handmade_bev import BOXES
from tests.golden.handmade_tigbev import tigbev
from tests.golden.replay import replay

OUTSIDE = ((12., 3., 0., 2., 4., 1.5, .3), (-7.5, 8.2, 0., 2., 4., 1.5, .3))
#: case -> its arguments and arrays
CASES = {
    'tigbev_ordinary': tigbev,
    'tigbev_mixed_order': lambda: tigbev(sample=(1, 0, 1)),
    'tigbev_one_without': lambda: tigbev(sample=(0, 0, 0)),
    'tigbev_not_enlarged': lambda: tigbev(enlarge=-1, count=2),
    'tigbev_outside': lambda: tigbev(BOXES[:1] + OUTSIDE, (0, 0, 1)),
    'tigbev_one_sample': lambda: tigbev(BOXES[:1], (0,), batch=1, count=4, size=16),
    'tigbev_one_object': lambda: tigbev(objects=1),
    'tigbev_no_object': lambda: tigbev(objects=0),
    'tigbev_maps_alone': lambda: tigbev(depth=False),
}


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('name', CASES)
def test_case_replays(tmp_path, name, dtype):
    _, error, not_finite, problems = replay(write_bare(tmp_path, name, *CASES[name](), dtype))
    assert not problems and not not_finite
    assert error < (1e-4 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize('array', [
    name for name, value in tigbev()[1].items() if name.startswith(('loss', 'grad', 'sampled_'))])
def test_a_wrong_value_fails(tmp_path, array):
    args, arrays = tigbev()
    arrays = with_a_wrong_value(arrays, array)
    problems = replay(write_bare(tmp_path, 'tigbev_wrong', args, arrays, np.float64))[3]
    assert len(problems) == 1 and array.removeprefix('grad_') in problems[0]


@pytest.mark.parametrize('changes, message', [
    (dict(y_sample_num=4), 'x_sample_num and y_sample_num differ'),
    (dict(cell=1.), 'have not the cells of 1.0 m'), (dict(warmth=1.), 'does not know')])
def test_other_settings_are_refused(tmp_path, changes, message):
    args, arrays = tigbev()
    with pytest.raises(CaseError, match=message):
        replay(write_bare(tmp_path, 'tigbev_other', {**args, **changes}, arrays))
