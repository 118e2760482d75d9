"""scatter_points, gather_voxels and segment_mean."""
import math

import pytest
import torch

from mmkd.ops import (
    gather_voxels,
    has_kernel,
    reductions,
    scatter_points,
    segment_mean,
    voxel_index,
)

from .common import DEVICES, FLOATS, assert_repeatable, on, same_bits

SIZE, RANGE = (1., 1., 1.), (-3., -3., -1., 3., 3., 1.)
REDUCE = ('sum', 'mean', 'max')


def example(n=200, c=5, dtype=torch.float64, device='cpu', spread=8.):
    points = ((torch.rand(n, 3, dtype=torch.float64) - 0.5) * spread).to(device)
    features = torch.randn(n, c, dtype=torch.float64).to(dtype).to(device)
    return features, voxel_index(points, SIZE, RANGE)


def plain(features, index, reduce):
    """One voxel at a time."""
    rows = []
    for m in range(len(index.unique)):
        members = features[index.inverse == m]
        rows.append({'sum': members.sum(0), 'mean': members.mean(0),
                     'max': members.amax(0)}[reduce])
    return torch.stack(rows)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('reduce', REDUCE)
def test_against_one_voxel_at_a_time(reduce, device):
    features, index = example()
    assert (index.inverse < 0).any() and (index.counts > 1).any() and (index.counts == 1).any()
    torch.testing.assert_close(on(device, scatter_points, features, index, reduce),
                               plain(features, index, reduce), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('c', [1, 3, 64])
def test_kernels_equal_the_references(dtype, c, device):
    """Bit for bit: all add in order of the points, voxels of some forty here."""
    features, index = example(3000, c, dtype)
    parts = index.inverse, index.order, index.starts
    for mean in (False, True):
        expected = reductions.segment_sum_reference(features, *parts, mean)
        assert expected.dtype == dtype
        assert same_bits(on(device, reductions.segment_sum, features, *parts, mean), expected)
        assert same_bits(on(device, reductions.gather_segments, expected, *parts, mean),
                         reductions.gather_segments_reference(expected, *parts, mean))
    best, arg = reductions.segment_max_reference(features, *parts)
    got = on(device, reductions.segment_max, features, *parts)
    assert same_bits(got[0], best) and torch.equal(got[1], arg)
    grad = torch.randn_like(best)
    assert same_bits(on(device, reductions.segment_max_backward, grad, arg, *parts),
                     reductions.segment_max_backward_reference(grad, arg, *parts))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('reduce', REDUCE)
def test_gradients(reduce, device):
    features, index = example(25, 3, device=device)
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: scatter_points(f, index, reduce), features)
    voxels = torch.randn(len(index.unique), 3, dtype=torch.float64, device=device,
                         requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gather_voxels(v, index), voxels)
    if reduce != 'max':
        assert torch.autograd.gradgradcheck(lambda f: scatter_points(f, index, reduce), features)


def test_half_types_are_summed_in_float32():
    ones = torch.ones(4097, 1, dtype=torch.float16)  # 2048 + 1 is 2048 in float16
    ids = torch.zeros(4097, dtype=torch.long)
    assert scatter_points(ones, ids, 'sum', 1).item() == 4096  # 4097, rounded once
    assert scatter_points(ones.bfloat16(), ids, 'mean', 1).item() == 1


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype, first', [(torch.bfloat16, 250), (torch.float16, 2040)])
def test_the_number_of_points_is_not_rounded_to_a_half_type(device, dtype, first):
    """257 is no bfloat16, and 2049 no float16."""
    counts = torch.arange(first, first + 90)
    assert (counts.to(dtype).long() != counts).sum() > 30
    ids = torch.arange(90).repeat_interleave(counts)[torch.randperm(int(counts.sum()))]
    ones = torch.ones(len(ids), 2, dtype=dtype)
    grad = torch.linspace(.5, 3, 180).view(90, 2).to(dtype)

    def mean(features, ids, grad):
        features = features.detach().requires_grad_()
        out = scatter_points(features, ids, 'mean', 90)
        return out.detach(), torch.autograd.grad(out, features, grad)[0]

    out, back = on(device, mean, ones, ids, grad)
    assert (out == 1).all()
    assert same_bits(back, (grad.float() / counts[:, None]).to(dtype)[ids])
    assert (on(device, segment_mean, ones, ids, 90) == 1).all()
    assert (on(device, segment_mean, ones, ids, 90, 1e-6) == 1).all()


@pytest.mark.parametrize('device', DEVICES)
def test_the_first_of_equal_maxima_takes_the_gradient(device):
    features = torch.tensor([[1., 5.], [7., 5.], [7., 2.], [0., 5.]], device=device,
                            requires_grad=True)
    ids = torch.tensor([0, 0, 0, 0], device=device)
    scatter_points(features, ids, 'max', 1).sum().backward()
    assert features.grad.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize('device', DEVICES)
def test_a_nan_is_the_maximum_and_the_first_takes_the_gradient(device):
    features = torch.tensor([[1., -math.inf], [math.nan, -math.inf], [math.nan, -math.inf],
                             [9., -math.inf]], device=device, requires_grad=True)
    ids = torch.tensor([0, 0, 0, 1], device=device)
    out = scatter_points(features, ids, 'max', 2)
    assert out[0, 0].isnan() and out[1, 0] == 9 and (out[:, 1] == -math.inf).all()
    out.backward(torch.ones_like(out))
    assert features.grad.tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('reduce', REDUCE)
def test_nothing_to_reduce(reduce, device):
    """No point, no point inside, no channel, a voxel number without a point."""
    for n, c, spread in ((0, 4, 1.), (6, 4, 0.), (6, 0, 1.)):
        points = torch.zeros(n, 3, device=device) + (99. if spread == 0 else 0.)
        features = torch.ones(n, c, device=device, requires_grad=True)
        index = voxel_index(points, SIZE, RANGE)
        out = scatter_points(features, index, reduce)
        assert out.shape == (len(index.unique), c)
        out.sum().backward()
        if len(index.unique) == 0:
            assert not features.grad.any()
        assert gather_voxels(out, index).shape == (n, c)
    ids = torch.tensor([2, -1, 2], device=device)
    out = scatter_points(torch.ones(3, 1, device=device), ids, reduce, 4)
    assert out[:, 0].tolist() == [0, 0, 2 if reduce == 'sum' else 1, 0]


def test_gather_gives_zero_outside_and_sums_gradients():
    voxels = torch.tensor([[1., 2.], [3., 4.]], requires_grad=True)
    out = gather_voxels(voxels, torch.tensor([1, -1, 0, 1], dtype=torch.int32))
    assert out.tolist() == [[3, 4], [0, 0], [1, 2], [3, 4]]
    out.sum().backward()
    assert voxels.grad.tolist() == [[1, 1], [2, 2]]


def test_not_contiguous_features():
    features, index = example(100, 6)
    strided = torch.randn(6, 100, dtype=torch.float64).t()
    for reduce in REDUCE:
        assert torch.equal(scatter_points(strided, index, reduce),
                           scatter_points(strided.contiguous(), index, reduce))


@pytest.mark.parametrize('reduce', REDUCE)
def test_same_bits_for_any_number_of_threads(reduce):
    features, index = example(50_000, 16, torch.float32)
    features.requires_grad_()

    def run():
        out = scatter_points(features, index, reduce)
        return out, torch.autograd.grad(out.sum(), features)[0], gather_voxels(out, index)
    assert_repeatable(run)


def test_segment_mean_and_its_eps():
    features = torch.tensor([[2.], [4.], [9.]])
    ids = torch.tensor([1, 1, -1])
    assert segment_mean(features, ids, 3).tolist() == [[0], [3], [0]]
    assert segment_mean(features, ids, 3, eps=1.).tolist() == [[0], [2], [0]]
    exact = segment_mean(features.double(), ids, 3, eps=1e-12)[1].item()
    assert exact == 6 / (2 + 1e-12)


@pytest.mark.parametrize('call, message', [
    (lambda f, i: scatter_points(f, i, 'median'), "'sum', 'mean', 'max'"),
    (lambda f, i: scatter_points(f[:-1], i), '200 points'),
    (lambda f, i: scatter_points(f.long(), i), 'features must be'),
    (lambda f, i: scatter_points(f, i, num_voxels=3), 'knows its number'),
    (lambda f, i: scatter_points(f, i.inverse), 'index is a tensor of ids, which needs num_voxels'),
    (lambda f, i: scatter_points(f, i.inverse, num_voxels=2), r'\[-1, 2\)'),
    (lambda f, i: scatter_points(f, i.inverse - 1, num_voxels=999), r'\[-1, 999\)'),
    (lambda f, i: scatter_points(f, i.inverse[:-1], num_voxels=999), r'shape \(200\)'),
    (lambda f, i: scatter_points(f, i.inverse.float(), num_voxels=999), 'int32, int64'),
    (lambda f, i: scatter_points(f.to('meta'), i), 'different devices'),
    (lambda f, i: gather_voxels(f, i), 'rows of features'),
    (lambda f, i: gather_voxels(f, torch.tensor([200])), r'\[-1, 200\)'),
    (lambda f, i: segment_mean(f, i.inverse, -2), 'num_segments must be at least 0'),
    (lambda f, i: scatter_points(f, i.inverse, num_voxels=-2), 'num_voxels must be at least 0'),
    (lambda f, i: segment_mean(f, i.inverse, 2), r'segment_mean: ids must lie in \[-1, 2\)'),
    (lambda f, i: segment_mean(f, i.inverse[:-1], 999), r'segment_mean: ids .* shape \(200\)'),
    (lambda f, i: segment_mean(f.tolist(), i.inverse, 999), 'features must be a tensor'),
    (lambda f, i: segment_mean(f.to('meta'), i.inverse, 999, 1e-6), 'different devices'),
    (lambda f, i: segment_mean(f, i.inverse, 999, -1.), 'eps must not be negative'),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(*example())


@pytest.mark.skipif(not has_kernel('segment_sum'), reason='no compiled kernels: the reference '
                    'raises an IndexError')
def test_an_index_that_does_not_fit_is_never_followed_out_of_bounds():
    """What torch.ops.mmkd.* can be handed: wild rows are left out, wild places cut off."""
    rows = torch.ones(3, 2)
    wild = torch.tensor([0, 2 ** 40, -7])
    starts = torch.tensor([-5, 2, 2 ** 50])
    index = torch.tensor([0, 9, -9]), wild, starts
    out = torch.ops.mmkd.segment_sum(rows, *index, False)
    assert out.tolist() == [[1, 1], [0, 0]]
    assert torch.ops.mmkd.segment_max(rows, *index)[0].tolist() == [[1, 1], [0, 0]]
    back = torch.ops.mmkd.gather_segments(out, *index, False)
    assert back.tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize('device', DEVICES)
def test_compiles_into_one_graph(device):
    def run(points, features):
        index = voxel_index(points, SIZE, RANGE)
        voxels = scatter_points(features, index, 'max') + scatter_points(features, index)
        return gather_voxels(voxels, index)
    points = (torch.rand(60, 3, device=device) - 0.5) * 8
    features = torch.randn(60, 4, device=device, requires_grad=True)
    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    a, b = compiled(points, features), run(points, features)
    assert torch.equal(a, b)
    assert torch.equal(torch.autograd.grad(a.sum(), features)[0],
                       torch.autograd.grad(b.sum(), features)[0])


@pytest.mark.parametrize('device', DEVICES)
def test_operators_are_well_formed(device):
    features, index = example(20, 3, device=device)
    features.requires_grad_()
    parts = index.inverse, index.order, index.starts
    torch.library.opcheck(reductions.segment_sum, (features, *parts, True))
    out, arg = reductions.segment_max(features, *parts)
    torch.library.opcheck(reductions.segment_max, (features, *parts))
    torch.library.opcheck(reductions.segment_max_backward, (out.detach(), arg, *parts))
    torch.library.opcheck(reductions.gather_segments, (out.detach().requires_grad_(), *parts, True))
