"""Every adapter against hand-derived cases, in the forms of all its sources."""
import math

import numpy as np
import pytest

from tests.golden.handmade import KL, SCORES, SLOPE, mgd_case, scores, write_case
from tests.golden.replay import replay


def assert_replays(path, rounding=1e-12):
    _, error, _, problems = replay(path)
    assert not problems and error < rounding


@pytest.mark.parametrize('source, args, factor', [
    ('winycg/CIRKD:losses/kd.py', {'temperature': 1.}, 1 / 2),
    ('open-mmlab/mmrazor:kl_divergence.py', {'tau': 1., 'loss_weight': 3.}, 3.),
    ('open-mmlab/mmrazor:kl_divergence.py', {'reduction': 'sum'}, 1.),
    ('open-mmlab/mmrazor:kl_divergence.py', {'reduction': 'mean'}, 1 / 4),
    ('YukangWang/IFVD:utils/criterion.py', {'upsample': False}, 1 / 4),
    ('irfanICMLL/TorchDistiller:criterion.py', {'temperature': 1.}, 1 / 4),
    ('HobbitLong/RepDistiller:KD.py', {'T': 1.}, 1.),
    ('elsewhere', {'tau': 1.}, 1.)])
def test_kd_divisors(tmp_path, source, args, factor):
    """One image of two equal pixels: the sum of KL is 2 KL, the gradient one slope a pixel."""
    arrays = scores((1, 2, 1, 2), repeat=2, out__loss=2 * KL * factor,
                    grad__loss__student=SLOPE * factor)
    assert_replays(write_case(tmp_path, 'kd_7', source, args, arrays))


@pytest.mark.parametrize('source, args, factor', [
    ('winycg/CIRKD:losses/kd.py', {'temperature': 4.}, 16.),
    ('open-mmlab/mmrazor:kl_divergence.py', {'tau': 4.}, 16.),
    ('YukangWang/IFVD:utils/criterion.py', {'temperature': 4.}, 1 / 2)])
def test_kd_temperature_and_its_square(tmp_path, source, args, factor):
    arrays = {'in__student': [[[[0.]], [[0.]]]], 'in__teacher': [[[[4 * math.log(3)]], [[0.]]]],
              'out__loss': factor * KL,
              'grad__loss__student': np.reshape(factor * SLOPE / 4, (1, 2, 1, 1))}
    assert_replays(write_case(tmp_path, 'kd_7', source, args, arrays))


def test_kd_upsampling_leaves_a_constant_map_alone(tmp_path):
    """The mean over pixels and 2 classes is KL / 2 at any size."""
    arrays = scores((1, 2, 1, 1), out__loss=KL / 2, grad__loss__student=SLOPE / 2)
    assert_replays(write_case(tmp_path, 'kd_7', 'YukangWang/IFVD:c.py', {'upsample': True}, arrays))


CHANNEL = {'norm_type': 'channel', 'divergence': 'kl'}


@pytest.mark.parametrize('source, args, value, factor', [
    ('irfanICMLL/TorchDistiller:criterion.py', CHANNEL, KL, 1.),
    ('open-mmlab/mmrazor:cwd.py', {'loss_weight': 2.}, KL, 2.),
    ('pppppM/mmsegmentation-distiller:cwd.py', {'tau': 1., 'weight': 2.}, math.log(2), 2.)])
def test_cwd_forms(tmp_path, source, args, value, factor):
    """Two positions of one channel; the cross-entropy of (3/4, 1/4) and (1/2, 1/2) is ln 2."""
    arrays = scores((1, 1, 1, 2), out__loss=factor * value, grad__loss__student=factor * SLOPE)
    assert_replays(write_case(tmp_path, 'cwd_7', source, args, arrays))


def test_cwd_mse_ignores_the_temperature(tmp_path):
    arrays = scores((1, 1, 1, 2), out__loss=2 / 16)
    args = {'norm_type': 'channel', 'divergence': 'mse', 'temperature': 4.}
    assert_replays(write_case(tmp_path, 'cwd_7', 'irfanICMLL/TorchDistiller:c.py', args, arrays))


def test_cwd_raw_values_read_the_first_sample_and_divide_by_all(tmp_path):
    arrays = {'in__student': np.zeros((2, 1, 1, 2)),
              'in__teacher': np.reshape([1., 3., 100., 100.], (2, 1, 1, 2)),
              'out__loss': 10 / 4,
              'grad__loss__student': np.reshape([-2 / 4, -6 / 4, 0., 0.], (2, 1, 1, 2))}
    assert_replays(write_case(tmp_path, 'cwd_7', 'irfanICMLL/TorchDistiller:c.py', {}, arrays))


@pytest.mark.parametrize('source, args, name, value', [
    ('winycg/CIRKD:losses/cwd.py', CHANNEL | {'s_channels': 2, 't_channels': 1}, 'm.conv', KL),
    ('pppppM/mmsegmentation-distiller:cwd.py', {'student_channels': 2, 'teacher_channels': 1},
     'loss_mod.align', math.log(2))])
def test_cwd_divides_by_the_channels_before_the_convolution(tmp_path, source, args, name, value):
    """Two student channels, of which the convolution takes the second one."""
    arrays = {'in__student': np.reshape([5., 6., 0., 0.], (1, 2, 1, 2)),
              'in__teacher': np.reshape(SCORES['in__teacher'], (1, 1, 1, 2)),
              f'param__{name}.weight': np.reshape([0., 1.], (1, 2, 1, 1)),
              'out__loss': value / 2,
              'grad__loss__student': np.reshape([0., 0., *SLOPE / 2], (1, 2, 1, 2)),
              f'gradp__loss__{name}.weight': np.reshape([0.25 / 2, 0.], (1, 2, 1, 1))}
    if name.endswith('align'):
        arrays[f'param__{name}.bias'] = [0.]
        arrays[f'gradp__loss__{name}.bias'] = [0.]
    assert_replays(write_case(tmp_path, 'cwd_7', source, args, arrays))


def test_cwd_convolution_rests_where_channels_are_equal(tmp_path):
    arrays = scores((1, 1, 1, 2), out__loss=KL, grad__loss__student=SLOPE)
    arrays['param__m.conv.weight'] = [[[[7.]]]]
    args = CHANNEL | {'s_channels': 1, 't_channels': 1}
    assert_replays(write_case(tmp_path, 'cwd_7', 'winycg/CIRKD:losses/cwd.py', args, arrays))


def test_at_by_hand(tmp_path):
    """Maps (3, 4) / 5 and (1, 0), and a zero sample against (0, 1); a list of one loss."""
    student = np.sqrt([3., 4., 0., 0.]).reshape(2, 1, 1, 2)
    teacher = np.array([1., 0., 0., 1.]).reshape(2, 1, 1, 2)
    arrays = {'in__student': student, 'in__teacher': teacher,
              'out__loss': [(0.4 ** 2 + 0.8 ** 2 + 1) / 4]}
    assert_replays(write_case(tmp_path, 'at_7', 'HobbitLong/RepDistiller:AT.py', {'p': 2}, arrays))


def test_fitnet_by_hand(tmp_path):
    """y = 2 * 3 = 6 against 1: 25, with slopes 2 * 5 * 2 and 2 * 5 * 3."""
    arrays = {'in__student': [[[[3.]]]], 'in__teacher': [[[[1.]]]], 'out__loss': 25.,
              'param__deep.prefix.conv.weight': [[[[2.]]]], 'grad__loss__student': [[[[20.]]]],
              'gradp__loss__deep.prefix.conv.weight': [[[[30.]]]]}
    assert_replays(write_case(tmp_path, 'fitnet_7', 'winycg/CIRKD:losses/fitnet.py',
                              {'s_channels': 1, 't_channels': 1}, arrays))


def test_mgd_masks_pixels_above_and_channels_below(tmp_path):
    draw = np.array([0.2, 0.4])  # a pixel above 0.3 is masked, a channel below 0.7
    assert_replays(mgd_case(tmp_path, draw.reshape(1, 1, 1, 2), [1, 0, 1, 0]))
    assert_replays(mgd_case(tmp_path, [[[[0.6]], [[0.8]]]], [0, 0, 1, 1], 'yzd-v/MGD:cls/mgd.py'))


def test_attnfd_without_parameters(tmp_path):
    """BatchNorm makes (-1, 1) of any two values; its unit vector is at a right angle to that of
    a constant teacher, so the squared distance is 2 and no gradient is left."""
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    gated = 2 * sigmoid(1 + 2)  # the student is (0, 2): average 1, maximum 2
    refined = gated * sigmoid(2 * gated)
    t_gated = sigmoid(1 + 1)
    t_refined = t_gated * sigmoid(2 * t_gated)
    norm = 'd.Connectors.3.1'
    arrays = {
        'in__s0': [[[[0., 2.]]]], 'in__t0': [[[[1., 1.]]]],
        'param__d.Connectors.0.0.weight': [[[[9.]]]],
        'param__d.Connectors.3.0.weight': [[[[3.]]]],
        f'param__{norm}.weight': [1.], f'param__{norm}.bias': [0.],
        f'param__{norm}.running_mean': [0.], f'param__{norm}.running_var': [1.],
        f'param__{norm}.num_batches_tracked': 0,
        'param__d.t_net.cbam.0.SpatialGate.spatial.conv.weight': np.ones((1, 2, 7, 7)),
        'out__loss': 3. * 2, 'out__refined_s0': [[[[0., refined]]]],
        'out__refined_t0': [[[[t_refined, t_refined]]]],
        'grad__loss__s0': np.zeros((1, 1, 1, 2)), f'after__{norm}.running_mean': [0.15 * refined],
        f'after__{norm}.num_batches_tracked': 1}
    path = write_case(tmp_path, 'attnfd_7', 'AmirMansurian/AttnFD:distiller.py',
                      {'attn_lambda': 3.}, arrays)
    assert_replays(path, rounding=1e-8)  # a gradient that cancels out is all rounding


def test_cirkd_minibatch_by_hand(tmp_path):
    """Two pixels at a right angle for the teacher, parallel for the student: each row is
    softmax(1 / tau, 0) against (1/2, 1/2)."""
    p = math.exp(2.) / (math.exp(2.) + 1)
    arrays = {'in__student': np.reshape([1., 1., 0., 0.], (1, 2, 1, 2)),
              'in__teacher': np.reshape([1., 0., 0., 1.], (1, 2, 1, 2)),
              'out__loss': p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))}
    assert_replays(write_case(tmp_path, 'cirkd_minibatch_7', 'winycg/CIRKD:losses/m.py',
                              {'temperature': 0.5}, arrays))


def test_cirkd_memory_with_nothing_left_is_zero(tmp_path):
    """All pixels ignored: the official losses are NaN, the queues stay as they were."""
    norm = {'weight': [1.], 'bias': [0.], 'running_mean': [0.], 'running_var': [1.],
            'num_batches_tracked': 0}
    queues = {'teacher_pixel_queue': np.ones((2, 3, 1)), 'pixel_queue_ptr': [1, 2],
              'teacher_segment_queue': np.ones((2, 2, 1)), 'segment_queue_ptr': [0, 1]}
    arrays = {'in__student': np.ones((1, 1, 2, 2)), 'in__teacher': np.ones((1, 1, 2, 2)),
              'in__labels': np.full((1, 4, 4), 255),
              'param__mem.project_head.0.weight': [[[[1.]]]],
              'param__mem.project_head.3.weight': [[[[1.]]]],
              'out__loss_pixel': np.nan, 'out__loss_region': np.nan,
              'grad__loss_pixel__student': np.zeros((1, 1, 2, 2))}
    arrays |= {f'param__mem.project_head.1.{key}': value for key, value in norm.items()}
    arrays |= {f'{kind}__mem.{key}': value for key, value in queues.items()
               for kind in ('param', 'after')}
    args = {'num_classes': 2, 'pixel_memory_size': 3, 'region_memory_size': 2,
            'pixel_contrast_size': 2, 'region_contrast_size': 1, 'contrast_kd_temperature': 1.,
            'contrast_temperature': 0.1, 's_channels': 1, 't_channels': 1, 'ignore_label': 255}
    path = write_case(tmp_path, 'cirkd_memory_7', 'winycg/CIRKD:losses/m.py', args, arrays)
    _, error, not_finite, problems = replay(path)
    assert (error, not_finite, problems) == (0, 2, [])
