"""PointDistiller: local graphs by loops, ties, few voxels, and grids that differ."""
import pytest
import torch

from mmkd.apis import join_recipes
from mmkd.models.libraries.mmdet3d_voxels import pair_voxels
from mmkd.models.losses.bev import PointDistillerLoss, PointDistillerMapLoss
from tests.detectors3d import bev_batch, bev_distiller, pointpillars
from tests.helpers import build


def edge_features(layer, rows, query, near):
    """Of each edge, by loops: (Q, k, D)."""
    x = torch.stack([torch.stack([torch.cat([rows[j], rows[i]]) for j in near[n]])
                     for n, i in enumerate(query)])
    y = x @ layer.conv.weight.flatten(1).t()
    mean, var = y.mean((0, 1)), y.var((0, 1), unbiased=False)
    return ((y - mean) / (var + layer.bn.eps).sqrt() * layer.bn.weight + layer.bn.bias).relu()


def by_loops(loss, student, teacher, counts):
    order = sorted(range(len(counts)), key=lambda i: (-int(counts[i]), i))[:loss.num_voxels]
    distances = (teacher[:, None] - teacher).square().sum(2)
    near = [sorted(range(len(counts)), key=lambda j: (float(distances[i, j]), j))
            [:loss.kneighbours] for i in order]
    error = edge_features(loss.student_graph, student, order, near) - edge_features(
        loss.teacher_graph, teacher, order, near)
    if not loss.reweight:
        return 5e-4 * error.square().sum().sqrt()
    weights = (counts[order].double() / loss.temperature).softmax(0) * len(order)
    return 2 * (error.square() * weights[:, None, None]).mean()


def scene(count=20, ties=False):
    torch.manual_seed(0)
    student, teacher = torch.randn(count, 3).double(), torch.randn(count, 4).double()
    counts = torch.randint(1, 4, (count,)) if ties else torch.randperm(count)
    if ties:
        teacher[count // 2:] = teacher[:count - count // 2]
    return student.requires_grad_(), teacher, counts


def of(loss, student, teacher, counts, pairs=None):
    pairs = torch.arange(len(teacher)).expand(2, -1) if pairs is None else pairs
    return loss(student, teacher, dict(num_points=counts), pairs)


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('arguments', [{}, dict(temperature=2.), dict(reweight=False)])
@pytest.mark.parametrize('sizes', [(8, 5), (20, 20), (6000, 128)])
def test_value(ties, arguments, sizes):
    student, teacher, counts = scene(ties=ties)
    loss = PointDistillerLoss(3, 4, *sizes, channels=5, **arguments).double()
    value = of(loss, student, teacher, counts)
    assert value.item() == pytest.approx(by_loops(loss, student, teacher, counts).item(), rel=1e-9)
    value.backward()
    assert student.grad.any() and all(p.grad.any() for p in loss.parameters())


def test_equal_voxels_do_not_depend_on_anything_else():
    """Equally near neighbours come by their index, so that two runs are the same."""
    student, teacher, counts = scene(ties=True)
    loss = PointDistillerLoss(3, 4, 6, 4, channels=5).double()
    assert of(loss, student, teacher, counts) == of(loss, student, teacher, counts)


@pytest.mark.parametrize('count', [0, 1])
def test_less_than_two_voxels_are_zero_with_a_graph(count):
    student, teacher, counts = scene(20)
    pairs = torch.zeros(2, count, dtype=torch.int64)
    value = of(PointDistillerLoss(3, 4), student, teacher, counts, pairs)
    gradient, = torch.autograd.grad(value, student)
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher, counts = scene()
    student, teacher = student.detach().to(dtype), teacher.to(dtype)
    loss = PointDistillerLoss(3, 4, 8, 5, channels=5)
    with torch.autocast('cpu', torch.bfloat16):
        value = of(loss, student, teacher, counts)
    assert value.dtype == torch.float32
    expected = by_loops(loss.double(), student.double(), teacher.double(), counts)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_same_features_in_equal_layers_are_zero():
    student, _, counts = scene()
    loss = PointDistillerLoss(3, 3, 8, 5, channels=5).double()
    loss.teacher_graph.load_state_dict(loss.student_graph.state_dict())
    for reweight in (True, False):
        loss.reweight = reweight
        value = of(loss, student, student.detach(), counts)
        gradient, = torch.autograd.grad(value, student)
        assert value == 0 and torch.isfinite(gradient).all()


def test_what_is_no_voxels_is_told():
    student, teacher, counts = scene()
    loss, pairs = PointDistillerLoss(3, 4), torch.arange(20).expand(2, -1)
    with pytest.raises(ValueError, match='hard voxelization'):
        loss(student, teacher, {}, pairs)
    with pytest.raises(ValueError, match='one for each of its 19 voxels'):
        loss(student, teacher, dict(num_points=counts[1:]), pairs)
    with pytest.raises(ValueError, match='student_channels=None'):
        PointDistillerLoss()
    with pytest.raises(ValueError, match='temperature=0'):
        PointDistillerLoss(3, 4, temperature=0)


def test_weights_of_maps():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 4, 4, 5)
    values = {}
    for official in (True, False):
        torch.manual_seed(1)
        loss = PointDistillerMapLoss(3, 4, 6, 5, official_weights=official, temperature=1e9)
        values[official] = loss(student, teacher).item()
    # at that temperature all weights are 1, and the official ones are the batch size
    assert values[True] == pytest.approx(2 * values[False], rel=1e-5)


def test_pairs_of_voxels_on_grids_that_differ():
    """A student of 2 m, moved by 1 m, and a teacher of 1 m."""
    def model(size, area):
        return build(pointpillars(size=size, area=area))
    student = model(2., (-7., -8., -3., 9., 8., 1.))
    teacher = model(1., (-8., -8., -3., 8., 8., 1.))
    mine = torch.tensor([[1, 0, 0, 0], [0, 0, 7, 7], [0, 0, 0, 0]])
    theirs = torch.tensor([[0, 0, 0, 0],    # x from -8: beyond the student's range
                           [0, 0, 1, 2],    # x -6 to -5, y -7 to -6: the first cell
                           [1, 0, 0, 1],    # of the other sample
                           [0, 0, 15, 15],  # x 7 to 8, y 7 to 8: the last one
                           [0, 0, 4, 4]])   # no points of the student's
    pairs = pair_voxels(student, mine, teacher, theirs)
    assert pairs.tolist() == [[2, 0, 1], [1, 2, 3]]
    assert pair_voxels(student, mine[:0], teacher, theirs).shape == (2, 0)
    assert pair_voxels(student, mine, teacher, theirs[:0]).shape == (2, 0)
    same = pair_voxels(student, mine, student, mine.flip(0))
    assert same.tolist() == [[2, 1, 0], [0, 1, 2]]


@pytest.mark.parametrize('recipe, size', [('pointdistiller', 1.), ('pointdistiller', 2.),
                                          ('pointdistiller_second', 1.)])
def test_a_step_of_the_recipes(recipe, size):
    model = build(bev_distiller(join_recipes(f'det3d/{recipe}'), pointpillars(8, size=size),
                                pointpillars(16)))
    data = model.data_preprocessor(bev_batch(features=4, code=7), True)
    value = model(**data, mode='loss')['loss_graph']
    value.backward()
    assert value > 0 and torch.isfinite(value)
    assert all(p.grad is not None and p.grad.any()
               for p in model.distiller['graph'].parameters() if p.ndim == 4)
    assert recipe != 'pointdistiller' or any(
        p.grad is not None and p.grad.any() for p in model.student.voxel_encoder.parameters())
