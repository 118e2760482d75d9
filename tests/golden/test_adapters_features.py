"""The adapters of detection's feature methods against cases made by hand."""
import math

import numpy as np
import pytest

from tests.golden.files import CaseError
from tests.golden.handmade import KL, SLOPE, scores, write_dotted
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


# On a map of one row and four cells, of an image of 8 x 32 pixels: the weights that boxes give.
DRAWN = {
    'none': ([], [0, 0, 0, 0]),
    'ordinary': ([[0, 0, 8, 8]], [1 / 4, 1 / 4, 0, 0]),  # of 2 x 2 cells, the second row outside
    'smaller wins': ([[0, 0, 8, 8], [8, 0, 8, 0]], [1 / 4, 1, 0, 0]),
    'zero size': ([[8, 0, 8, 0]], [0, 1, 0, 0]),
    'over the edge': ([[24, 0, 48, 8]], [0, 0, 0, 1 / 8]),
    'whole': ([[0, 0, 32, 8]], [1 / 10] * 4),
    'outside': ([[40, 0, 48, 8]], [0, 0, 0, 0]),
    'left, an empty slice': ([[-16, 0, -10, 0]], [0, 0, 0, 0]),
    'left, a slice from the right': ([[-24, 0, -16, 0]], [0, 1 / 2, 1 / 2, 0])}


def fgd_case(folder, boxes, shares, student_channels=2):
    """The teacher is 0, so its attention is 1 everywhere; the student is 1, so is its own, and
    with layers of 0 each error is 1."""
    fg = np.array(shares, dtype=float)
    bg = (fg == 0) / max((fg == 0).sum(), 1)
    slope = 2 * (0.5 * fg + 0.25 * bg + 0.125)
    arrays = {'in.student': np.ones((1, student_channels, 1, 4)),
              'in.teacher': np.zeros((1, 2, 1, 4)), 'in.img_shapes': np.array([[8, 32]]),
              'in.gt_bboxes_0': np.reshape(boxes, (-1, 4)).astype(float),
              'mid.mask_fg': fg.reshape(1, 1, 4), 'mid.mask_bg': bg.reshape(1, 1, 4),
              'mid.S_t': np.ones((1, 1, 4)), 'mid.C_t': np.ones((1, 2)),
              'out.fg': 2 * fg.sum(), 'out.bg': 2 * bg.sum(), 'out.mask': 0., 'out.rela': 8.,
              'out.loss': fg.sum() + bg.sum() / 2 + 1,
              'grad.student': np.tile(slope * 2 / student_channels, (1, student_channels, 1, 1))}
    for side in 'st':
        arrays |= {f'w.conv_mask_{side}.weight': np.zeros((1, 2, 1, 1)),
                   f'w.conv_mask_{side}.bias': np.zeros(1),
                   f'w.channel_add_conv_{side}.0.weight': np.zeros((1, 2, 1, 1)),
                   f'w.channel_add_conv_{side}.0.bias': np.zeros(1),
                   f'w.channel_add_conv_{side}.1.weight': np.ones((1, 1, 1)),
                   f'w.channel_add_conv_{side}.1.bias': np.zeros((1, 1, 1)),
                   f'w.channel_add_conv_{side}.3.weight': np.zeros((2, 1, 1, 1)),
                   f'w.channel_add_conv_{side}.3.bias': np.zeros(2)}
    if student_channels != 2:
        arrays |= {'w.align.weight': np.ones((2, student_channels, 1, 1)) / student_channels,
                   'w.align.bias': np.zeros(2),
                   'gradw.align.bias': np.repeat(slope.sum(), 2)}
    args = dict(student_channels=student_channels, teacher_channels=2, temp=0.5, alpha_fgd=0.5,
                beta_fgd=0.25, gamma_fgd=3., lambda_fgd=0.125)
    return write_dotted(folder, 'fgd__by_hand', args, arrays)


@pytest.mark.parametrize('kind', DRAWN)
def test_fgd_draws_boxes_as_the_official_code(tmp_path, kind):
    assert_replays(fgd_case(tmp_path, *DRAWN[kind]))


@pytest.mark.parametrize('channels', [1, 4])
def test_fgd_aligns_unequal_channels(tmp_path, channels):
    assert_replays(fgd_case(tmp_path, *DRAWN['ordinary'], channels))


def test_fgd_needs_the_boxes_of_each_image(tmp_path):
    path = fgd_case(tmp_path, *DRAWN['none'])
    renamed = path.read_text().replace('gt_bboxes_0', 'gt_bboxes_1')
    path.write_text(renamed)
    numbers = dict(np.load(path.with_suffix('.npz')))
    numbers['in.gt_bboxes_1'] = numbers.pop('in.gt_bboxes_0')
    np.savez(path.with_suffix('.npz'), **numbers)
    with pytest.raises(CaseError, match='gt_bboxes_0'):
        replay(path)


@pytest.mark.parametrize('share, kept', [(0.7, [1, 0]), (0., [1, 1]), (1., [0, 0])])
def test_mgd_det_masks_the_cells_of_large_draws(tmp_path, share, kept):
    """The generator's layers pass positive values on; two channels become one first."""
    kept = np.reshape(kept, (1, 1, 1, 2)).astype(float)
    centre = np.zeros((1, 1, 3, 3))
    centre[..., 1, 1] = 1
    student = np.reshape([1., 2., 3., 4.], (1, 2, 1, 2))
    aligned = student.sum(1, keepdims=True)
    arrays = {'in.student': student, 'in.teacher': np.zeros((1, 1, 1, 2)),
              'in.rand': np.reshape([0.2, 0.4], (1, 1, 1, 2)), 'in.keep_mask': kept,
              'w.align.weight': np.ones((1, 2, 1, 1)), 'w.align.bias': [0.],
              'out.loss_unweighted': ((aligned * kept) ** 2).sum(),
              'out.loss': 0.5 * ((aligned * kept) ** 2).sum(),
              'grad.student': np.tile(aligned * kept, (1, 2, 1, 1))}
    arrays |= {f'w.generation.{i}.{name}': value for i in (0, 2)
               for name, value in (('weight', centre), ('bias', [0.]))}
    args = dict(student_channels=2, teacher_channels=1, alpha_mgd=0.5, lambda_mgd=share)
    assert_replays(write_dotted(tmp_path, 'mgd_det__by_hand', args, arrays))


def test_cwd_det_by_hand(tmp_path):
    arrays = scores((1, 1, 1, 2), out__loss=10 * KL, grad__loss__student=10 * SLOPE)
    dotted = {'in.student': arrays['in__student'], 'in.teacher': arrays['in__teacher'],
              'out.loss': arrays['out__loss'], 'grad.student': arrays['grad__loss__student']}
    assert_replays(write_dotted(tmp_path, 'cwd_det__by_hand', dict(tau=1, loss_weight=10), dotted))


def test_cwd_det_of_one_cell_is_nothing(tmp_path):
    arrays = {'in.student': [[[[5.]]]], 'in.teacher': [[[[-7.]]]], 'out.loss': 0.,
              'grad.student': [[[[0.]]]]}
    assert_replays(write_dotted(tmp_path, 'cwd_det__by_hand', dict(tau=1, loss_weight=10), arrays))


def fbkd_case(folder, student, parts, gradient=None, pooled=True, **changes):
    """One channel of 1 x 2 cells, layers that pass it on, blocks that add nothing; the teacher is
    0, its attention 1, and so is that of a constant student."""
    student = np.reshape(student, (1, 1, 1, 2))
    arrays = {'in.student': student, 'in.teacher': np.zeros((1, 1, 1, 2)),
              **{f'out.{name}': value for name, value in parts.items()}, 'out.loss': 3 * sum(
                  weight * parts[name] for name, weight in (
                      ('feat', 2), ('channel', 3), ('spatial', 5), ('nonlocal', 7)))}
    if gradient is not None:
        arrays['grad.student'] = np.reshape(gradient, (1, 1, 1, 2))
    centre = np.zeros((1, 1, 3, 3))
    centre[..., 1, 1] = 1
    layers = {'channel_wise_adaptation': np.ones((1, 1)), 'spatial_wise_adaptation': centre,
              'adaptation_layers': np.ones((1, 1, 1, 1)),
              'non_local_adaptation': np.ones((1, 1, 1, 1))}
    arrays |= {f'w.student_connector.{name}.weight': value for name, value in layers.items()}
    arrays |= {f'w.student_connector.{name}.bias': np.zeros(1) for name in layers}
    for side in ('student', 'teacher'):
        block = f'w.{side}_connector.{side}_non_local'
        end = '.0.0' if pooled else ''
        for name in ('g' + end, 'phi' + end, 'theta'):
            arrays |= {f'{block}.{name}.conv.weight': np.ones((1, 1, 1, 1)),
                       f'{block}.{name}.conv.bias': np.zeros(1)}
        norm = {'weight': 0., 'bias': 0., 'running_mean': 5., 'running_var': 7.}
        arrays |= {f'{block}.conv_out.bn.{name}': [value] for name, value in norm.items()}
        arrays |= {f'{block}.conv_out.conv.weight': np.ones((1, 1, 1, 1)),
                   f'{block}.conv_out.bn.num_batches_tracked': np.array(1)}
    args = dict(connector=dict(reduction=2, mode='dot_product', sub_sample=pooled,
                               maxpool_stride=2),
                loss=dict(mask_l2_weight=2, channel_weight=3, spatial_weight=5,
                          nonloacl_weight=7, loss_weight=3), connector_training=True)
    args['connector'] |= changes
    return write_dotted(folder, 'fbkd__by_hand', args, arrays)


@pytest.mark.parametrize('pooled', [True, False])
def test_fbkd_by_hand(tmp_path, pooled):
    """(2, 2) against 0: a length of 2 sqrt(2) along (1, 1) / sqrt(2), a mean of 2."""
    length, slope = 8 ** 0.5, 0.5 ** 0.5
    parts = {'feat': length, 'channel': 2., 'spatial': length, 'nonlocal': length}
    assert_replays(fbkd_case(tmp_path, [2., 2.], parts,
                             [3 * ((2 + 5 + 7) * slope + 3 / 2)] * 2, pooled))


@pytest.mark.parametrize('pooled', [True, False])
def test_fbkd_of_identical_maps_is_finite(tmp_path, pooled):
    parts = dict.fromkeys(('feat', 'channel', 'spatial', 'nonlocal'), 0.)
    assert_replays(fbkd_case(tmp_path, [0., 0.], parts, [np.nan, np.nan], pooled), not_finite=1)


def test_fbkd_refuses_what_was_never_published(tmp_path):
    parts = dict.fromkeys(('feat', 'channel', 'spatial', 'nonlocal'), 0.)
    for changes in (dict(mode='gaussian'), dict(other=1)):
        with pytest.raises(CaseError, match='|'.join(changes)):
            replay(fbkd_case(tmp_path, [0., 0.], parts, **changes))


def frs_case(folder, scores_of_teacher, losses, **args):
    """Levels of two equal cells: the student's feature is 3, the teacher's 1, its own score 0."""
    arrays = {'out.distill_feat_loss': losses[0], 'out.distill_cls_loss': losses[1]}
    for k, score in enumerate(scores_of_teacher):
        cells = np.ones((1, 1, 1, 2))
        arrays |= {f'in.student_{k}': 3 * cells, f'in.teacher_{k}': cells,
                   f'in.student_cls_{k}': 0 * cells, f'in.teacher_cls_{k}': score * cells}
        centre = np.zeros((1, 1, 3, 3))
        centre[..., 1, 1] = 1
        arrays |= {f'w.adap.{k}.weight': centre, f'w.adap.{k}.bias': [0.]}
    args = dict(distill_feat_weight=2., distill_cls_weight=3., distill_warm_step=500,
                iter=1000) | args
    return write_dotted(folder, 'frs__by_hand', args, arrays)


def test_frs_adds_levels_up_and_warms_up(tmp_path):
    """(3 - 1)^2 = 4 and the cross-entropy of 1/2, ln 2, whatever the teacher's score."""
    assert_replays(frs_case(tmp_path, [0., -9.], (2 * 8, 3 * 2 * math.log(2))))
    assert_replays(frs_case(tmp_path, [0., -9.], (4, 3 / 2 * math.log(2)), iter=125))
    assert_replays(frs_case(tmp_path, [0.], (0., 0.), iter=0))


def test_frs_of_a_teacher_that_sees_nothing_is_finite(tmp_path):
    assert_replays(frs_case(tmp_path, [0., -1e4], (np.nan, np.nan)), not_finite=2)


def test_frs_ends_logarithms_at_minus_100(tmp_path):
    path = frs_case(tmp_path, [0.], (2 * 4, 3 * 50.))
    numbers = dict(np.load(path.with_suffix('.npz')))
    numbers['in.student_cls_0'] += np.float32(40.)  # the true cross-entropy is 20
    np.savez(path.with_suffix('.npz'), **numbers)
    assert_replays(path)
