"""The adapters of LiDAR from LiDAR: what lies in other cases than the recorded ordinary ones."""
import numpy as np
import pytest

from tests.golden import handmade_lidar as made
from tests.golden.files import CaseError
from tests.golden.handmade_3d import with_a_wrong_value, write_bare
from tests.golden.replay import replay

#: case -> its arguments and arrays
CASES = {
    'sparsekd_ordinary': made.sparsekd,
    'sparsekd_noboxes_all': lambda: made.sparsekd(boxes=0),
    'sparsekd_one_sample': lambda: made.sparsekd(batch=1, boxes=5),
    'sparsekd_code_weights': lambda: made.sparsekd(code_weights=[1., .2, 3.]),
    'sparsekd_pillar_resize': lambda: made.sparsekd((2, 3)),
    'sparsekd_pillar_resize_finer': lambda: made.sparsekd((8, 9), reg=False),
    'sparsekd_pillar_resize_noboxes': lambda: made.sparsekd((2, 3), boxes=0),
    'itkd_ordinary': made.itkd,
    'itkd_noboxes': lambda: made.itkd(objects=(2, 0)),
    'itkd_noboxes_all': lambda: made.itkd(objects=(0, 0)),
    'itkd_velocity': lambda: made.itkd((5,), (2, 2, 1, 3, 2, 2), 1, 3, (3, 5), (4, 2)),
    'lidardistill_roi': made.lidardistill,
    'lidardistill_roi_full': lambda: made.lidardistill(padding=0),
    'lidardistill_roi_noboxes': lambda: made.lidardistill(boxes=((), ((1., 1., 4., 4.),))),
    'lidardistill_roi_equal': lambda: made.lidardistill(equal=True),
    'lidardistill_gt': lambda: made.lidardistill('gt'),
    'lidardistill_all': lambda: made.lidardistill('all'),
    '2dpass_kl_ordinary': made.passing_kl,
    '2dpass_kl_one_point': lambda: made.passing_kl(1, 7),
    'pointdistiller_pillars_reweight': lambda: made.pointdistiller(ties=False),
    'pointdistiller_pillars_plain': lambda: made.pointdistiller(reweight=False, ties=False),
    'pointdistiller_pillars_ties': made.pointdistiller,
    'pointdistiller_pillars_all': lambda: made.pointdistiller(centers=12, near=12),
    'pointdistiller_pillars_one_center': lambda: made.pointdistiller(centers=1, near=4),
    'pointdistiller_second_backbone': lambda: made.pointdistiller(True, ties=False),
    'pointdistiller_second_ties': lambda: made.pointdistiller(True, batch=3),
    'pointdistiller_second_plain': lambda: made.pointdistiller(True, reweight=False, batch=1),
}


def replayed(folder, name, args, arrays, dtype=np.float64):
    return replay(write_bare(folder, name, args, arrays, dtype))


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('name', CASES)
def test_case_replays(tmp_path, name, dtype):
    _, error, not_finite, problems = replayed(tmp_path, name, *CASES[name](), dtype)
    assert not problems and not not_finite
    assert error < (1e-4 if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize('name, array', [
    (name, array) for name, case in CASES.items() for array, value in case()[1].items()
    if array.startswith(('loss', 'grad')) and np.abs(value).max() > 0])
def test_a_wrong_value_fails(tmp_path, name, array):
    args, arrays = CASES[name]()
    arrays = with_a_wrong_value(arrays, array)
    problems = replayed(tmp_path, name, args, arrays)[3]
    assert len(problems) == 1 and array.removeprefix('grad_') in problems[0]


@pytest.mark.parametrize('name, args, message', [
    ('sparsekd_ordinary', dict(thresh=.1), 'thresh must be as released'),
    ('sparsekd_ordinary', dict(code_weights=[1., 2.]), 'are not those of 3 channels'),
    ('lidardistill_roi', dict(mode='pred'), 'is known'),
    ('lidardistill_roi', dict(cell=1.), 'are not those of a map'),
    ('2dpass_kl_ordinary', dict(reduction='batchmean'), 'only the mean is known'),
    ('itkd_ordinary', dict(warmth=1.), 'does not know the official argument'),
    ('pointdistiller_pillars_ties', dict(fuse_mode='sub'), 'fuse_mode must be as released'),
    ('pointdistiller_second_ties', dict(sample_mode='mixed'), 'sample_mode must be')])
def test_other_settings_are_refused(tmp_path, name, args, message):
    known, arrays = CASES[name]()
    with pytest.raises(CaseError, match=message):
        replayed(tmp_path, name, {**known, **args}, arrays)


@pytest.mark.parametrize('name', ['pointdistiller_pillars_ties', 'pointdistiller_second_ties'])
def test_neighbours_have_no_order_but_must_be_the_nearest(tmp_path, name):
    args, arrays = CASES[name]()
    mixed = dict(arrays, knn=arrays['knn'][..., ::-1].copy())
    assert replayed(tmp_path, name, args, mixed)[1] < 1e-9
    with pytest.raises(CaseError, match='knn are not the nearest'):
        replayed(tmp_path, name, args, dict(arrays, knn=(arrays['knn'] + 1) % 12))


def test_centers_of_a_stage_may_be_in_one_row(tmp_path):
    """And the scores, that stand for numbers of points, of any shape."""
    args, arrays = CASES['pointdistiller_second_backbone']()
    scores = arrays['teacher_feature'].max(1).reshape(2, -1)
    flat = dict(arrays, query=arrays['query'].reshape(-1), num_points=scores)
    assert replayed(tmp_path, 'pointdistiller_second_backbone', args, flat)[1] < 1e-9


@pytest.mark.parametrize('name', ['MSE', 'MSELoss'])
def test_a_setting_may_have_its_official_name(tmp_path, name):
    args, arrays = CASES['sparsekd_ordinary']()
    assert not replayed(tmp_path, 'sparsekd_named', dict(args, hm_type=name, rank=-1), arrays)[3]


def test_a_loss_left_out_may_be_a_whole_number(tmp_path):
    args, arrays = CASES['sparsekd_pillar_resize']()
    assert arrays['loss_reg'] == 0
    arrays['loss_reg'] = np.array(0)
    assert replayed(tmp_path, 'sparsekd_pillar_resize', args, arrays)[3] == []
    arrays['loss_reg'] = np.array(1)
    assert len(replayed(tmp_path, 'sparsekd_pillar_resize', args, arrays)[3]) == 1


@pytest.mark.parametrize('name, case', [
    ('lidardistill_gt_noboxes', lambda: made.lidardistill('gt', ((), ()))),
    ('2dpass_kl_nopoints', lambda: made.passing_kl(0))])
def test_where_the_official_loss_is_not_a_number_it_is_zero(tmp_path, name, case):
    _, _, not_finite, problems = replayed(tmp_path, name, *case())
    assert not problems and not_finite
