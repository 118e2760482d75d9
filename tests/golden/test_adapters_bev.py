"""The adapters of losses on maps seen from above, on cases made by hand."""
import numpy as np
import pytest

from tests.golden import handmade_bev as made
from tests.golden.files import CaseError
from tests.golden.handmade_3d import with_a_wrong_value, write_bare
from tests.golden.replay import replay


def some(case, *parts):
    """A case with the arrays alone whose name ends in one of ``parts``."""
    args, arrays = case
    return args, {key: value for key, value in arrays.items() if key.endswith(parts)}


#: case -> its arguments and arrays
CASES = {
    'bevdistill_dense_ordinary': made.bevdistill_dense,
    # the last but one is less than a cell below the map
    'bevdistill_dense_outside': lambda: made.bevdistill_dense(made.BOXES + (
        (9., 0., 0., 2., 4., 1., 0.), (-8.2, 3., 0., 2., 4., 1., 0.),
        (1., -12., 0., 2., 4., 1., 0.)), (0,) * 6),
    'bevdistill_dense_noboxes': lambda: made.bevdistill_dense(()),
    'bevdistill_relation_ordinary': made.bevdistill_relation,
    'bevdistill_relation_batch2': lambda: made.bevdistill_relation(batch=2, stages=3),
    'cmkd_ordinary': made.cmkd,
    'cmkd_nonzero_mask': lambda: made.cmkd(mask=True),
    'cmkd_nopositive': lambda: made.cmkd(shift=-9., batch=1),
    'cmkd_all_positive': lambda: made.cmkd(shift=9., anchors=3, classes=1),
    'cmkd_l1_empty': lambda: made.cmkd(mask=True, kind='L1', empty=3, classes=2),
    'cmkd_feature': lambda: some(made.cmkd(mask=True), 'bev'),
    'cmkd_response': lambda: some(made.cmkd(), 'cls', 'box', 'dir', 'loc'),
    'fd3d_heatmap_ordinary': made.fd3d_heatmap,
    'fd3d_heatmap_noboxes': lambda: made.fd3d_heatmap(boxes=False, batch=1),
    'fsdbev_bevloss': made.fsdbev,
    'fsdbev_empty_cells': lambda: made.fsdbev(batch=1, empty=2),
}


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('name', CASES)
def test_case_replays(tmp_path, name, dtype):
    args, arrays = CASES[name]()
    _, error, not_finite, problems = replay(write_bare(tmp_path, name, args, arrays, dtype))
    assert not problems and error < (1e-4 if dtype == np.float32 else 1e-6)
    assert (not_finite > 0) == bool(any(np.isnan(value).any() for value in arrays.values()
                                        if value.dtype.kind == 'f'))


@pytest.mark.parametrize('name, array', [
    (name, array) for name, case in CASES.items() for array, value in case()[1].items()
    if np.isfinite(value).all() and array.startswith(('loss', 'grad', 'fg_'))
    and np.abs(value).max() > 0])
def test_a_wrong_value_fails(tmp_path, name, array):
    args, arrays = CASES[name]()
    arrays = with_a_wrong_value(arrays, array)
    _, _, _, problems = replay(write_bare(tmp_path, name, args, arrays, np.float64))
    assert len(problems) == 1 and array.removeprefix('grad_').removeprefix('w.') in problems[0]


@pytest.mark.parametrize('name, changes, message', [
    ('bevdistill_relation_ordinary', dict(bn='eval mode'), "only 'train mode' is known"),
    ('bevdistill_dense_ordinary', dict(fg_weight='pred'), "only 'gt' is known"),
    ('bevdistill_dense_ordinary', dict(voxel_size=2.), 'have not the cells of 4.0 m'),
    ('cmkd_ordinary', dict(qfl_beta=1.), 'qfl_beta must be 2')])
def test_other_settings_are_refused(tmp_path, name, changes, message):
    args, arrays = CASES[name]()
    with pytest.raises(CaseError, match=message):
        replay(write_bare(tmp_path, name, {**args, **changes}, arrays))


def test_an_empty_array_may_be_of_any_kind(tmp_path):
    args, arrays = CASES['bevdistill_dense_noboxes']()
    arrays['box_sample'] = np.zeros(0)
    path = write_bare(tmp_path, 'bevdistill_dense_noboxes', args, arrays)
    assert not replay(path)[3]
    arrays['box_sample'] = np.zeros(1)
    with pytest.raises(CaseError, match='box_sample is float32, expected an array of int'):
        replay(write_bare(tmp_path, 'bevdistill_dense_noboxes', args, arrays))


@pytest.mark.parametrize('name', CASES)
def test_an_unknown_argument_or_array_fails(tmp_path, name):
    args, arrays = CASES[name]()
    with pytest.raises(CaseError, match='warmth'):
        replay(write_bare(tmp_path, name, {**args, 'warmth': 1.}, arrays))
    with pytest.raises(CaseError, match='oops'):
        replay(write_bare(tmp_path, name, args, {**arrays, 'oops': np.zeros(2)}))
