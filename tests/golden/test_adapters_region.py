"""The adapters of the methods that look at regions, against numpy and hand-made boxes."""
import numpy as np
import pytest

from tests.golden.handmade import write_dotted
from tests.golden.replay import replay


def assert_replays(path, rounding=1e-9):
    _, error, _, problems = replay(path)
    assert not problems and error < rounding


# ---- DIST ----------------------------------------------------------------------------
def dist_sides(*shape):
    """Scores whose sigmoids are 1/4, 1/2 and 3/4: everything is known by head."""
    random = np.random.default_rng(0)
    return {f'in.{side}': np.log(np.array([1 / 3, 1., 3.])[random.integers(0, 3, shape)])
            for side in ('student', 'teacher')}


def cosine(a, b):
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    return ((a * b).sum(1) / (np.sqrt((a * a).sum(1) * (b * b).sum(1)) + 1e-8)).mean()


def dist_value(arrays, args):
    sides = []
    for side in ('in.student', 'in.teacher'):
        x = arrays[side]
        x = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
        p = 1 / (1 + np.exp(-x))
        sides.append(p if args.get('use_sigmoid') else np.exp(x) / np.exp(x).sum(1, keepdims=True))
    return args.get('loss_weight', 1.) * (
        args.get('beta', 1.) * (1 - cosine(*sides))
        + args.get('gamma', 1.) * (1 - cosine(*(p.T for p in sides))))


@pytest.mark.parametrize('args', [
    {}, {'use_sigmoid': True}, {'beta': 2., 'gamma': .5, 'loss_weight': 3.}])
@pytest.mark.parametrize('shape', [(2, 4, 3, 5), (6, 4), (1, 4, 1, 7), (1, 4, 1, 1), (1, 4),
                                   (2, 1, 3, 5), (6, 1)], ids=str)
def test_dist(tmp_path, args, shape):
    arrays = dist_sides(*shape)
    arrays['out.loss'] = dist_value(arrays, args)
    assert_replays(write_dotted(tmp_path, 'dist_det__x', args, arrays, dtype=np.float64))


def test_dist_of_constant_columns_is_two_without_gradient(tmp_path):
    arrays = dist_sides(2, 4, 3, 5)
    arrays['in.teacher'][:] = 1.
    arrays |= {'out.loss': 2., 'grad.student': np.zeros((2, 4, 3, 5))}
    # float32's mean of equal numbers is off by a rounding
    assert_replays(write_dotted(tmp_path, 'dist_det__x', {'use_sigmoid': True}, arrays), 1e-5)


def test_dist_of_a_pyramid_adds_the_levels_up(tmp_path):
    levels = [dist_sides(2, 4, 4, 6), dist_sides(2, 4, 2, 3)]
    values = [dist_value(level, {}) for level in levels]
    arrays = {f'{key}_{i}': x for i, level in enumerate(levels) for key, x in level.items()}
    arrays |= {'out.loss': sum(values), 'out.loss_0': values[0], 'out.loss_1': values[1]}
    assert_replays(write_dotted(tmp_path, 'dist_det__x', {}, arrays, dtype=np.float64))
