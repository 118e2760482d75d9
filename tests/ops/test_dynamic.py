"""The stand-in for mmcv's DynamicScatter, by its definition."""
import pytest
import torch

from mmkd.ops import DynamicScatter, dynamic_scatter


@pytest.mark.parametrize('reduce', ('sum', 'mean', 'max'))
def test_dynamic_scatter_is_mmdet3ds_by_its_definition(reduce):
    """Distinct rows of coordinates in ascending order, points with a negative one left out."""
    coors = torch.randint(-1, 3, (300, 4), dtype=torch.int32)
    features = torch.randn(300, 2, dtype=torch.float64, requires_grad=True)
    out, rows = dynamic_scatter(features, coors, reduce)
    inside = (coors >= 0).all(1)
    expected, inverse = coors[inside].unique(dim=0, return_inverse=True)
    assert torch.equal(rows, expected) and rows.dtype == torch.int32
    for m in range(len(rows)):
        members = features[inside][inverse == m]
        want = {'sum': members.sum(0), 'mean': members.mean(0), 'max': members.amax(0)}[reduce]
        torch.testing.assert_close(out[m], want)
    out.sum().backward()
    assert not features.grad[~inside].any()


def test_dynamic_scatter_counts_a_batch_whose_last_samples_are_empty():
    coors = torch.tensor([[2, 0, 0, 1], [0, 0, 1, 0], [2, -1, -1, -1]])
    scatter = DynamicScatter((1, 1, 1), (-3, -3, -1, 3, 3, 1), average_points=True)
    out, rows = scatter(torch.arange(6.).view(3, 2), coors)
    assert rows.tolist() == [[0, 0, 1, 0], [2, 0, 0, 1]] and out.tolist() == [[2, 3], [0, 1]]
    out, rows = scatter(torch.zeros(0, 2), torch.zeros(0, 4, dtype=torch.int32))
    assert out.shape == (0, 2) and rows.shape == (0, 4)
    out, rows = scatter(torch.ones(2, 2), torch.full((2, 3), -1))
    assert out.shape == (0, 2) and rows.shape == (0, 3)


def test_dynamic_scatter_beyond_int32():
    coors = torch.tensor([[2 ** 40, 3], [2 ** 40, 3], [1, 2 ** 20]])
    out, rows = dynamic_scatter(torch.ones(3, 1), coors, 'sum')
    assert rows.tolist() == [[1, 2 ** 20], [2 ** 40, 3]] and out[:, 0].tolist() == [1, 2]
    with pytest.raises(ValueError, match='int64'):
        dynamic_scatter(torch.ones(1, 1), torch.tensor([[2 ** 40, 2 ** 40]]))


@pytest.mark.parametrize('call, message', [
    (lambda f, c: dynamic_scatter(f, c[:-1]), r'coors must have shape \(4, D\)'),
    (lambda f, c: dynamic_scatter(f, c, 'median'), 'reduce'),
    (lambda f, c: dynamic_scatter(f, c[:, :0]), 'no columns'),
    (lambda f, c: dynamic_scatter(f, c.float()), 'int32, int64'),
    (lambda f, c: dynamic_scatter(f.long(), c), 'features must be'),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4, 2), torch.zeros(4, 3, dtype=torch.int32))
