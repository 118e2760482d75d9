"""Which gradients can be differentiated again; never a wrong second derivative in silence."""
import pytest
import torch

from mmkd.ops import gather_voxels, hard_voxelize, interpolate, scatter_points
from tests.ops.every_operator import CALLS, RANGE, VOXEL, arguments, make_tensors

IDS = torch.tensor([0, 2, -1, 0, 2, 2])


@pytest.mark.parametrize('function', [
    lambda x: scatter_points(x, IDS, 'sum', 3), lambda x: scatter_points(x, IDS, 'mean', 3),
    lambda x: gather_voxels(scatter_points(x, IDS, 'mean', 3), IDS),
    lambda x: hard_voxelize(x, VOXEL, RANGE, 2)[0]])
def test_sums_means_and_hard_voxels_have_second_derivatives(function):
    rows = torch.tensor([[0., 0, 0, 1], [.2, 0, 0, 2], [9, 0, 0, 3], [2, .1, 0, 4],
                         [2, .2, .1, 5], [2, .3, .2, 6]]).double() + .3
    assert torch.autograd.gradgradcheck(function, rows.requires_grad_())


@pytest.mark.parametrize('call', [
    CALLS['scatter_points, max of ids'], CALLS['bev_pool'], CALLS['bev_pool_v2'],
    lambda features, neighbours, weights: interpolate(features, neighbours[0], weights[0])])
def test_of_all_else_torch_refuses_them(call):
    tensors = arguments(call, make_tensors())
    leaves = [t for t in tensors if t.requires_grad and t.dim() != 6]  # no geometry
    first = torch.autograd.grad(call(*tensors).square().sum(), leaves, create_graph=True)
    with pytest.raises(RuntimeError, match='no autograd formula'):
        sum(g.square().sum() for g in first).backward()
