"""The adapters of the methods that look at regions, against numpy and hand-made boxes."""
import numpy as np
import pytest

from tests.golden.files import CaseError
from tests.golden.handmade import write_dotted
from tests.golden.handmade_region import (
    defeat_arrays,
    fgfi_arrays,
    near_objects,
    pgd_loss_arrays,
    pgd_weight_arrays,
    square_anchors,
)
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


# ---- FGFI ----------------------------------------------------------------------------
OBJECTS = [[8., 8., 60., 50.], [30., 20., 90., 75.]]
ALL = [0., 0., 96., 80.]


@pytest.mark.parametrize('boxes', [
    OBJECTS, OBJECTS[:1], [ALL], [[20., 20., 20., 20.]], [[20., 20., 20., 60.]],
    [[-50., -40., -20., -10.]], [[-400., -400., -390., -390.], OBJECTS[0]],
    [[70., 60., 200., 300.]]], ids=str)
@pytest.mark.parametrize('size', [(5, 6), (1, 7), (1, 1)], ids=str)
def test_fgfi(tmp_path, boxes, size):
    arrays = fgfi_arrays(boxes, size)
    path = write_dotted(tmp_path, 'fgfi__x', {'imitation_loss_weight': .01, 'phi': .5,
                                              'stride': 16}, arrays, dtype=np.float64)
    if np.isfinite(arrays['out.loss']):
        assert_replays(path)
    else:  # all boxes are too far away: 0 / 0
        _, error, not_finite, problems = replay(path)
        assert (error, not_finite, problems) == (0, 2, [])


@pytest.mark.parametrize('rows', [0, 3])
def test_fgfi_without_an_object_is_zero_where_the_official_value_is_nan(tmp_path, rows):
    _, error, not_finite, problems = replay(write_dotted(
        tmp_path, 'fgfi__x', {'imitation_loss_weight': .01, 'phi': .5, 'stride': 16},
        fgfi_arrays([], rows=rows)))
    assert (error, not_finite, problems) == (0, 2, [])


def test_fgfi_reads_boxes_up_to_a_row_of_zeros(tmp_path):
    arrays = fgfi_arrays(OBJECTS[:1])
    arrays['in.gt_boxes'][0, 2] = [*OBJECTS[1], 1]
    assert_replays(write_dotted(tmp_path, 'fgfi__x', {}, arrays, dtype=np.float64))


# ---- DeFeat and FGFI for pyramids ----------------------------------------------------
SMALL = [[4., 6., 40., 44.], [20., 30., 62., 60.]]
BATCHES = {
    'ordinary': [SMALL, [[0., 0., 30., 30.]]], 'none at all': [[], []], 'one image': [SMALL],
    'none in one image': [[], SMALL], 'zero size': [[[20., 20., 20., 20.]], [[8., 9., 30., 9.]]],
    'all of it': [[[0., 0., 64., 64.]], SMALL], 'large': [[[-90., -90., 200., 200.]], SMALL],
    'below and right': [[[50., 50., 90., 90.], [70., 10., 90., 40.]], SMALL],
    'above and left': [[[-30., -30., -10., -12.], [-20., 4., -9., 30.], [-2., -2., -1., 7.]], []]}


def defeat_args(switches, **others):
    return {'type': switches, 'roi_phi': .5, **others}


@pytest.mark.parametrize('boxes', BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize('image', [(64, 64), (4, 64), (64, 4)], ids=str)
def test_defeat(tmp_path, boxes, image):
    boxes = [[box for box in of_image if image == (64, 64) or box[0] < 4 and box[1] < 4
              and (box[2] > 4 or box[3] > 4)] for of_image in boxes]
    args = defeat_args('neck-adapt,neck-decouple,mask-neck-gt,pixel-wise', hint_neck_w=3,
                       hint_neck_back_w=12)
    arrays = defeat_arrays(boxes, image=image)
    assert_replays(write_dotted(tmp_path, 'defeat__x', args, arrays, dtype=np.float64))


@pytest.mark.parametrize('rois', [
    [0, 2, 4, 4, 1], [4, 4, 4], [1, 2, 0], [3], [2, 2]], ids=str)
def test_defeat_rois(tmp_path, rois):
    """Without background the largest label is taken for it."""
    args = defeat_args('neck-adapt,neck-decouple,mask-neck-gt,pixel-wise,head-cls,KL-decouple',
                       hint_neck_w=3, hint_neck_back_w=12, head_cls_w=2, head_cls_back_w=2,
                       head_cls_T=2., head_cls_back_T=2.)
    arrays = defeat_arrays(BATCHES['ordinary'], rois=rois)
    assert_replays(write_dotted(tmp_path, 'defeat__x', args, arrays, dtype=np.float64))


@pytest.mark.parametrize('boxes', BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize('image', [(64, 64), (4, 64)], ids=str)
def test_fgfi_for_pyramids(tmp_path, boxes, image):
    def near(of_level, stride, size):
        return near_objects(square_anchors(size, stride, (8.,), (.5, 1., 2.)), of_level, size)

    arrays = defeat_arrays(boxes, fg_weight=1., bg_weight=0., image=image, objects=near)
    arrays.pop('out.losskd_neck_back')
    args = defeat_args('neck-adapt,mask-neck-roi,pixel-wise', hint_neck_w=1)
    assert_replays(write_dotted(tmp_path, 'fgfi_defeatrepo__x', args, arrays, dtype=np.float64))


@pytest.mark.parametrize('switches, message', [
    ('neck-adapt,mask-neck-gt', 'pixel-wise is needed'), ('pixel-wise', 'no mask that is known'),
    ('pixel-wise,mask-neck-gt,head-cls', 'only KL-decouple'), ('bb-adapt,pixel-wise', 'known')])
def test_other_switches_are_refused(tmp_path, switches, message):
    arrays = defeat_arrays(BATCHES['ordinary'], rois=[0, 4])
    with pytest.raises(CaseError, match=message):
        replay(write_dotted(tmp_path, 'defeat__x', defeat_args(switches), arrays))


# ---- PGD -----------------------------------------------------------------------------
PLACES = ([[4., 6., 40., 44.], [20., 30., 62., 60.]], [1, 2])
AWKWARD = ([[-30., -30., 10., 12.], [30., 30., 30., 30.], [0., 0., 64., 64.]], [0, 1, 2])


@pytest.mark.parametrize('boxes, labels', [
    PLACES, ([], []), AWKWARD, ([[70., 70., 90., 90.]], [0])], ids=str)
@pytest.mark.parametrize('options', [
    {}, {'alpha': .6, 'topk': 4}, {'low_bound': .3}, {'size': (1, 12)}, {'topk': 1}], ids=str)
def test_pgd_weights(tmp_path, boxes, labels, options):
    if 'size' in options and len(boxes) == 3:  # the first would overlap fewer than 9 places
        boxes, labels = boxes[1:], labels[1:]
    arrays = pgd_weight_arrays(boxes, labels, **options)
    args = {'topk': 9, 'alpha': .8, 'low_bound': 0., **options}
    args.pop('size', None)
    assert_replays(write_dotted(tmp_path, 'pgd__weights_x', args, arrays, dtype=np.float64))


def test_pgd_weights_of_heads_without_anchors_exchange_x_and_y(tmp_path):
    arrays = pgd_weight_arrays([[4., 6., 50., 30.]], [1], transposed=True)
    straight = pgd_weight_arrays([[4., 6., 50., 30.]], [1])
    assert (arrays['out.bg_mask'] != straight['out.bg_mask']).any()
    args = {'topk': 9, 'alpha': .8, 'low_bound': 0.}
    assert_replays(write_dotted(tmp_path, 'pgd__weights_x', args, arrays, dtype=np.float64,
                                source='PGD:utils/pgw_anchor_free.py'))
    arrays.pop('in.anchors')
    assert_replays(write_dotted(tmp_path, 'pgd__weights_x', args, arrays, dtype=np.float64))


@pytest.mark.parametrize('n, h, w', [(1, 3, 4), (3, 2, 5), (2, 1, 6), (2, 1, 1)])
@pytest.mark.parametrize('drawn', ['some', 'none', 'none in one', 'all'])
def test_pgd_losses(tmp_path, n, h, w, drawn):
    random = np.random.default_rng(5)
    fg = random.random((n, h, w)) * (random.random((n, h, w)) < .5)
    bg = (random.random((n, h, w)) < .5).astype(float)
    if drawn == 'none':
        fg[:], bg[:] = 0, 1
    elif drawn == 'none in one':
        fg[0] = 0
    elif drawn == 'all':
        fg[:], bg[:] = 1, 0
    args = {'temp': .8, 'loss_weight': 1.25, 'alpha': .08, 'beta': .04, 'gamma': .128,
            'delta': 8e-4}
    arrays = pgd_loss_arrays(fg, bg)
    assert_replays(write_dotted(tmp_path, 'pgd__loss_x', args, arrays, dtype=np.float64))
