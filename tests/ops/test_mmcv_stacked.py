"""What mmcv has on a GPU alone: stacked clouds, half gradients, non-deterministic voxels; and who
is asked on which device."""
import pytest
import torch

from mmkd.ops import hard_voxelize, mmcv_stand_ins
from mmkd.ops.mmcv_stand_ins import replace_mmcv_ops
from tests.ops.common import assert_repeatable

mmcv_ops = pytest.importorskip('mmcv.ops', reason='mmcv is not installed or has no operators')

POINTS, CENTERS = (40, 0, 7, 3), (9, 2, 0, 5)
RADIUS = .5
VOXEL, RANGE = (.5, .5, 1.), (0., -4., -2., 8., 4., 2.)


@pytest.fixture(autouse=True)
def replaced():
    with replace_mmcv_ops():
        yield


def stacked(dtype=torch.float32):
    """Points and centers of four samples, and how many there are of each; int32 as in mmcv."""
    g = torch.Generator().manual_seed(1)
    points, centers = (torch.rand(sum(n), 3, generator=g).to(dtype) for n in (POINTS, CENTERS))
    return points, centers, *(torch.tensor(n, dtype=torch.int32) for n in (POINTS, CENTERS))


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize('count', [1, 4])
def test_stacked_ball_query_takes_the_first_points_of_each_sample(dtype, count):
    points, centers, sizes, center_sizes = stacked(dtype)
    found = mmcv_ops.ball_query(0, RADIUS, count, points, centers, sizes, center_sizes)
    assert found.shape == (16, count) and found.dtype == torch.int32 and found.is_contiguous()
    row, nobody = 0, 0
    for cloud, of_sample in zip(points.split(POINTS), centers.split(CENTERS), strict=True):
        for center in of_sample:
            near = (cloud.double() - center.double()).square().sum(1) < RADIUS ** 2
            near = near.nonzero().flatten().tolist()
            nobody += not near
            want = [-1] + [0] * (count - 1) if not near else \
                near[:count] + near[:1] * (count - len(near))
            assert found[row].tolist() == want
            row += 1
    assert 0 < nobody < row


def test_stacked_ball_query_in_one_sample_is_that_of_a_batch():
    points, centers, *_ = stacked()
    counts = [torch.tensor([len(t)], dtype=torch.int32) for t in (points, centers)]
    found = mmcv_ops.ball_query(0, 2, 5, points, centers, *counts)
    assert torch.equal(found, mmcv_ops.ball_query(0, 2, 5, points[None], centers[None])[0])
    nothing = mmcv_ops.ball_query(0, 2, 5, points[:0], centers[:0], *(c * 0 for c in counts))
    assert nothing.shape == (0, 5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_stacked_grouping_takes_rows_of_its_own_sample(dtype):
    _, _, sizes, query_sizes = stacked()
    g = torch.Generator().manual_seed(2)
    features = torch.randn(50, 6, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
    indices = torch.randint(-1, 9, (16, 3), generator=g).int()  # more than most samples have
    grouped = mmcv_ops.grouping_operation(features, indices, sizes, query_sizes)
    assert grouped.shape == (16, 6, 3) and grouped.dtype == dtype and grouped.is_contiguous()
    gradient = torch.rand(16, 6, 3, generator=g).to(dtype)
    grouped.backward(gradient)
    expected = torch.zeros(50, 6, dtype=torch.float64)
    starts = (0, 40, 40, 47)
    samples = [sample for sample, count in enumerate(CENTERS) for _ in range(count)]
    for row, sample in enumerate(samples):
        for s, i in enumerate(indices[row].tolist()):
            if 0 <= i < POINTS[sample]:
                assert torch.equal(grouped[row, :, s], features[starts[sample] + i])
                expected[starts[sample] + i] += gradient[row, :, s]
            else:
                assert not grouped[row, :, s].any()
    torch.testing.assert_close(features.grad, expected.to(dtype))


@pytest.mark.parametrize(('counts', 'message'), [
    ([40, 0, 7, 4], 'xyz_batch_cnt must add up to the 50 rows that are stacked, but holds .40'),
    ([60, -10], 'must add up to the 50 rows'), ([50], 'xyz_batch_cnt is of 1 samples, center_xyz'),
    ([[50]], r'must have shape \(B\)')])
def test_stacks_that_do_not_go_with_their_counts_are_refused(counts, message):
    points, centers, _, center_sizes = stacked()
    with pytest.raises(ValueError, match=message):
        mmcv_ops.ball_query(0, 1., 4, points, centers, torch.tensor(counts), center_sizes)


@pytest.mark.parametrize('group', [
    lambda x, i: mmcv_ops.gather_points(x, i),
    lambda x, i: mmcv_ops.grouping_operation(x, i[:, :, None]),
    lambda x, i: mmcv_ops.grouping_operation(
        x[0].T.contiguous(), i[0][:, None], *(torch.tensor([n]).int() for n in (2, 5000)))])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_gradients_are_summed_in_float32(group, dtype):
    """5,000 ones: float16 would stop at 2,048, bfloat16 at 256."""
    features = torch.ones(1, 1, 2, dtype=dtype, requires_grad=True)
    indices = torch.ones(1, 5000, dtype=torch.int32)
    group(features, indices).sum().backward()
    assert features.grad.flatten().tolist() == [0, torch.tensor(5000.).to(dtype).item()]


def test_gradients_are_the_same_bits_each_time():
    g = torch.Generator().manual_seed(3)
    features = torch.randn(3, 8, 10, generator=g).requires_grad_()
    indices = torch.randint(10, (3, 500, 4), generator=g).int()
    gradient = torch.randn(3, 8, 500, 4, generator=g)
    assert_repeatable(lambda: torch.autograd.grad(
        mmcv_ops.grouping_operation(features, indices), features, gradient))
    with pytest.raises(ValueError, match=r'grouping_operation: indices must lie in \[0, 10\)'):
        mmcv_ops.grouping_operation(features, indices + 1)


def make_layers():
    yield mmcv_ops.Voxelization(list(VOXEL), list(RANGE), 3, 20, deterministic=False)
    mmdet3d = pytest.importorskip('mmdet3d.models.data_preprocessors.voxelize',
                                  reason='mmdet3d is not installed')
    yield mmdet3d.VoxelizationByGridShape(list(RANGE), 3, list(VOXEL), max_voxels=20,
                                          deterministic=False)


def test_voxels_that_need_not_be_deterministic():
    """Each voxel is one of the cloud's; full, or all its points and zeros behind them."""
    g = torch.Generator().manual_seed(4)
    points = (torch.rand(300, 5, generator=g) - .3) * 9
    for layer in make_layers():
        voxels, coors, counts = layer(points)
        cells = ((points[:, :3] - torch.tensor(RANGE[:3])) / torch.tensor(VOXEL)).floor().flip(1)
        assert len(voxels) == len({tuple(c) for c in coors.tolist()}) == 20
        for voxel, cell, count in zip(voxels, coors, counts, strict=True):
            members = points[(cells == cell).all(1)]
            assert count == min(3, len(members)) and not voxel[count:].any()
            taken = {tuple(p) for p in voxel[:count].tolist()}
            assert len(taken) == count and taken <= {tuple(p) for p in members.tolist()}
        expected = hard_voxelize(points, VOXEL, RANGE, 3, 20)
        assert all(torch.equal(a, b)
                   for a, b in zip((voxels, coors, counts), expected, strict=True))


def test_mmdet3d_gets_the_voxel_of_each_point_where_it_asks():
    module = pytest.importorskip('mmdet3d.models.data_preprocessors.voxelize',
                                 reason='mmdet3d is not installed')
    coors = torch.tensor([[1, 0, 0], [0, 0, 2], [-1, 0, 0], [1, 0, 0]])
    features = torch.tensor([[1.], [2.], [4.], [8.]])
    means, voxels = module.dynamic_scatter_3d(features, coors, 'mean')
    assert means.tolist() == [[2], [4.5]] and voxels.tolist() == [[0, 0, 2], [1, 0, 0]]
    *_, inverse = module.dynamic_scatter_3d(features, coors, 'mean', True)
    assert inverse.tolist() == [1, 0, -1, 1] and inverse.dtype == torch.int32


def test_on_a_gpu_ours_are_asked_where_they_are_compiled(monkeypatch):
    for compiled in (True, False):
        monkeypatch.setattr(mmcv_stand_ins, 'has_kernel', lambda name, device, c=compiled: c)
        assert mmcv_stand_ins.runs_on(torch.device('cuda', 1)) is compiled
        assert mmcv_stand_ins.runs_on(torch.device('cpu'))
        assert not mmcv_stand_ins.runs_on(torch.device('meta'))


@pytest.mark.parametrize('name', mmcv_stand_ins.STAND_INS['mmcv.ops'])
def test_elsewhere_mmcv_is_asked(name, monkeypatch):
    """The device of the tensors decides, in each call; here of tensors that lie nowhere."""
    original, ours = mmcv_stand_ins._originals['mmcv.ops', name]
    asked = []
    if isinstance(original, type):
        monkeypatch.setattr(original, 'forward', lambda self, *args: asked.append(args))
        layer = ours(VOXEL, RANGE, True)
        layer(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.int32))
        call = layer
    else:
        call = mmcv_stand_ins._by_device(name, lambda *args: asked.append(args),
                                         lambda *args: 'ours')
        assert call(1, torch.ones(2)) == 'ours'
    assert not asked
    call(torch.ones(2, 3, device='meta'), torch.ones(2, 3, device='meta'))
    assert len(asked) == 1
