"""The adapters of detection's feature methods against cases made by hand."""
import numpy as np
import pytest

from tests.golden.handmade import write_dotted
from tests.golden.replay import replay

ROOT3 = 3 ** 0.5


def assert_replays(path, rounding=2e-6, not_finite=0):
    _, error, odd, problems = replay(path)
    assert not problems and error < rounding and odd == not_finite


def pkd_case(folder, student, teacher, value, gradient, suffix='_0', **args):
    """One channel of cells in a row, or several levels of that."""
    arrays = {'in.student' + suffix: np.reshape(student, (1, 1, 1, -1)),
              'in.teacher' + suffix: np.reshape(teacher, (1, 1, 1, -1)),
              'grad.student' + suffix: np.reshape(gradient, (1, 1, 1, -1)), 'out.loss': value}
    return write_dotted(folder, 'pkd__by_hand', {'loss_weight': 6., 'resize_stu': True, **args},
                        arrays)


@pytest.mark.parametrize('suffix', ['', '_0'])
def test_pkd_by_hand(tmp_path, suffix):
    """Both have mean 0 and deviation 1, and no correlation: the sum of squares is 2 + 2."""
    target = np.array([1, -2, 1]) / ROOT3
    assert_replays(pkd_case(tmp_path, [-1., 0., 1.], target, 6 * 4 / 3 / 2, -6 * target / 3,
                            suffix))


def test_pkd_constant_teacher(tmp_path):
    """Nothing is to be learned but a deviation that makes the 1e-6 beside it small."""
    gradient = 6 * 1e-6 / 3 * np.array([-1., 0., 1.])
    assert_replays(pkd_case(tmp_path, [-1., 0., 1.], [.3, .3, .3], 6 * 2 / 3 / 2, gradient), 1e-4)


def test_pkd_of_one_value_is_finite(tmp_path):
    assert_replays(pkd_case(tmp_path, [2.], [3.], np.nan, [np.nan]), not_finite=2)


def test_pkd_adds_levels_up_and_resizes(tmp_path):
    arrays = {'in.student_0': [[[[-1., 1.]]]], 'in.teacher_0': [[[[1., -1.]]]],
              'in.student_1': [[[[1., 1.], [3., 3.]]]], 'in.teacher_1': [[[[-7., 9.]]]],
              'out.loss': 1. + 0.25}
    # level 1: the student's rows are averaged to (2, 2), a constant against (-1, 1) / sqrt(2)
    assert_replays(write_dotted(tmp_path, 'pkd__by_hand', {}, arrays))
