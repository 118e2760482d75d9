"""The checks of values: how they are switched, and what is skipped without them."""
import os
import subprocess
import sys

import pytest
import torch

from mmkd.ops import (
    bev_pool_v2,
    boxes_to_bev_mask,
    check_values,
    draw_gaussian_heatmap,
    dynamic_scatter,
    gather_voxels,
    interpolate,
    knn,
    padded_members,
    scatter_points,
    segment_mean,
    three_interpolate,
    voxel_index,
)
from mmkd.ops.checks import values_are_checked
from tests.ops.common import DEVICES, same_bits, tensors_of

WRONG = torch.tensor([0, 7, -5, 2, 10 ** 9, -10 ** 9])
RIGHT = torch.tensor([0, -1, -1, 2, -1, -1])
GRID = (1., 1., 1.), (0., 0., 0., 4., 4., 4.)
ROWS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def test_a_call_holds_and_a_block_ends():
    assert values_are_checked()
    with check_values(False):
        assert not values_are_checked()
        with check_values(True):
            assert values_are_checked()
        assert not values_are_checked()
    assert values_are_checked()
    try:
        check_values(False)
        assert not values_are_checked()
    finally:
        check_values(True)
    with pytest.raises(RuntimeError, match='mine'), check_values(False):
        raise RuntimeError('mine')
    assert values_are_checked()
    with pytest.raises(ValueError, match='True or False'):
        check_values('off')


@pytest.mark.parametrize(('value', 'expected'), [
    ('0', 'False'), ('1', 'True'), ('off', "MMKD_OPS_CHECKS='off' is neither 0 nor 1")])
def test_the_environment_decides_how_it_begins(value, expected):
    done = subprocess.run(
        [sys.executable, '-c', 'from mmkd.ops.checks import values_are_checked as v; print(v())'],
        env=os.environ | {'MMKD_OPS_CHECKS': value}, text=True, capture_output=True, check=False)
    assert expected in done.stdout + done.stderr


def draw(labels, batch_index):
    centers = torch.full((6, 2), 2, device=labels.device)
    return draw_gaussian_heatmap(centers, centers[:, 0], labels, 3, (5, 4), batch_index, 3)


def pool(ranks_depth, ranks_feat, ranks_bev):
    depth, features = torch.rand(1, 1, 3, 1, 1), ROWS[:1].view(1, 1, 1, 1, 3)
    one = torch.ones(1, dtype=torch.int64)
    return bev_pool_v2(depth, features, ranks_depth, ranks_feat, ranks_bev, (1, 1, 2, 2, 3),
                       one * 0, one)


def index_of(device):
    """Three voxels."""
    return voxel_index(torch.arange(3., device=device)[:, None].expand(3, 3), *GRID)


# The function of an index into three, on its device; what the message calls the index.
SKIPS = {
    'scatter_points': (lambda i: scatter_points(ROWS.to(i.device), i, 'sum', 3), 'index'),
    'scatter_points, max': (lambda i: scatter_points(ROWS.to(i.device), i, 'max', 3), 'index'),
    'gather_voxels': (lambda i: gather_voxels(ROWS.to(i.device)[:3], i), 'index'),
    'segment_mean': (lambda i: segment_mean(ROWS.to(i.device), i, 3), 'ids'),
    'interpolate': (lambda i: interpolate(ROWS[:3].to(i.device), i[:, None],
                                          torch.ones(6, 1, device=i.device)), 'indices'),
    'three_interpolate': (lambda i: three_interpolate(
        ROWS[None, :3].to(i.device), i.view(1, 2, 3), torch.ones(1, 2, 3, device=i.device)),
        'indices'),
    'voxel_index': (lambda i: voxel_index(ROWS.abs().to(i.device), *GRID, i, 3), 'batch_index'),
    'boxes_to_bev_mask': (lambda i: boxes_to_bev_mask(
        torch.ones(6, 7, device=i.device), (-4, -4, 0, 4, 4, 1), (5, 4), i, 3), 'batch_index'),
    'draw_gaussian_heatmap, labels': (lambda i: draw(i, torch.zeros_like(i)), 'labels'),
    'draw_gaussian_heatmap, samples': (lambda i: draw(torch.zeros_like(i), i), 'batch_index'),
    'padded_members': (lambda i: padded_members(index_of(i.device), i, 2), 'segments'),
}


@pytest.mark.parametrize('name', SKIPS)
def test_without_the_checks_an_index_out_of_range_is_skipped(name):
    function, argument = SKIPS[name]
    with pytest.raises(ValueError, match=rf'{argument} must lie in \[-?\d, 3\), but holds values '
                       r'from -1000000000 to 1000000000'):
        function(WRONG)
    with check_values(False):
        for wrong in (WRONG, WRONG.int()):
            for device in DEVICES:
                pairs = list(zip(tensors_of(function(wrong.to(device))),
                                 tensors_of(function(RIGHT.to(device))), strict=True))
                assert pairs and all(same_bits(a, b) for a, b in pairs)


def test_without_the_checks_gradients_skip_too():
    for function in (lambda x, i: scatter_points(x, i, 'mean', 3),
                     lambda x, i: scatter_points(x, i, 'max', 3),
                     lambda x, i: gather_voxels(x[:3], i),
                     lambda x, i: interpolate(x[:3], i[:, None], x[:, :1])):
        gradients = []
        for index in (WRONG, RIGHT):
            x = ROWS.clone().requires_grad_()
            with check_values(False):
                out = function(x, index)
            gradients.append(torch.autograd.grad((out * ROWS[:len(out)]).sum(), x)[0])
        assert same_bits(*gradients)


def test_lengths_out_of_range_are_cut():
    query, lengths = ROWS[None], torch.tensor([7])
    with pytest.raises(ValueError, match=r'point_lengths must lie in \[0, 7\), but holds values '
                       'from 7 to 7'):
        knn(query, query, 2, point_lengths=lengths)
    with check_values(False):
        for wrong, right in ((7, 6), (10 ** 9, 6), (-3, 0)):
            for name in ('query_lengths', 'point_lengths'):
                a, b = (knn(query, query, 2, **{name: torch.tensor([n])}) for n in (wrong, right))
                assert all(same_bits(x, y) for x, y in zip(a, b, strict=True))


def test_ranks_out_of_range_are_skipped():
    right = torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match=r'ranks_feat must lie in \[0, 1\), but .* 9 to 9'):
        pool(right, right * 0 + 9, right)
    with check_values(False):
        for ranks in ((right + 1000, right * 0, right), (right, right - 100, right),
                      (right, right * 0, right + 10 ** 9)):
            for dtype in (torch.int32, torch.int64):
                assert not pool(*(r.to(dtype) for r in ranks)).any()


@pytest.mark.parametrize('largest', [
    (2 ** 40, 1, 2 ** 40), (2 ** 63 - 1,), (2 ** 63 - 2,), (2 ** 63 - 1025,), (0, 2 ** 63 - 1),
    (2 ** 31, 2 ** 32 - 2), (2 ** 63 - 1,) * 9])
def test_coordinates_beyond_int64_make_no_voxel(largest):
    """They never vanish silently: what makes no voxel is what the checks refuse."""
    coors = torch.tensor([largest, [0] * len(largest)])
    with pytest.raises(ValueError, match='more cells than an int64 can number'):
        dynamic_scatter(ROWS[:2], coors)
    with check_values(False):
        features, voxels = dynamic_scatter(ROWS[:2], coors)
    assert features.shape == (0, 3) and voxels.shape == (0, len(largest))


@pytest.mark.parametrize('largest', [(2 ** 62,), (2 ** 31 - 1, 2 ** 31 - 1), (0, 2 ** 62, 0)])
def test_coordinates_just_within_int64_are_voxels(largest):
    features, voxels = dynamic_scatter(ROWS[:2], torch.tensor([largest, [0] * len(largest)]))
    assert voxels.tolist() == [[0] * len(largest), list(largest)]
    assert same_bits(features, ROWS[:2].flip(0))
