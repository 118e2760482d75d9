"""mmcv's point operators on the CPU, and mmdet3d's PointNet++ built on them."""
import sys
from types import ModuleType

import pytest
import torch

from mmkd.ops.mmcv_stand_ins import STAND_INS, replace_mmcv_ops


@pytest.fixture
def mmcv_ops():
    return pytest.importorskip('mmcv.ops', reason='mmcv is not installed or has no operators')


@pytest.fixture
def replaced(mmcv_ops):
    with replace_mmcv_ops():
        yield mmcv_ops


def clouds(b=2, n=60, q=7):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(b, n, 3, generator=generator), torch.rand(b, q, 3, generator=generator))


def test_replaced_everywhere_and_put_back(mmcv_ops):
    group_points = sys.modules['mmcv.ops.group_points']
    sampler = sys.modules['mmcv.ops.points_sampler']
    if sys.modules['mmkd.ops.mmcv_stand_ins']._users:
        pytest.skip('another test of this process has them replaced for good')
    before = {name: getattr(mmcv_ops, name) for name in STAND_INS['mmcv.ops']}
    user = sys.modules['a_user_of_mmcv'] = ModuleType('a_user_of_mmcv')
    user.renamed = mmcv_ops.ball_query
    try:
        undo = replace_mmcv_ops()
        for name, original in before.items():
            assert getattr(mmcv_ops, name) is not original, name
        assert group_points.ball_query is user.renamed is mmcv_ops.ball_query
        assert sampler.furthest_point_sample is mmcv_ops.furthest_point_sample
        during = {name: getattr(mmcv_ops, name) for name in STAND_INS['mmcv.ops']}
        again = replace_mmcv_ops()
        assert all(getattr(mmcv_ops, name) is own for name, own in during.items())
        user.late = mmcv_ops.knn
        undo()
        undo()
        assert all(getattr(mmcv_ops, name) is own for name, own in during.items())
        again()
        for name, original in before.items():
            assert getattr(mmcv_ops, name) is original, name
        assert user.renamed is group_points.ball_query is before['ball_query']
        assert user.late is before['knn']
    finally:
        del sys.modules['a_user_of_mmcv']


def test_put_back_after_an_error(mmcv_ops):
    before = mmcv_ops.knn
    with pytest.raises(RuntimeError, match='mine'), replace_mmcv_ops():
        raise RuntimeError('mine')
    assert mmcv_ops.knn is before


def test_knn(replaced):
    xyz, centers = clouds()
    indices = replaced.knn(5, xyz, centers)
    assert indices.dtype == torch.int32 and indices.shape == (2, 5, 7)
    nearest = torch.cdist(centers.double(), xyz.double()).topk(5, largest=False).indices
    assert torch.equal(indices.long(), nearest.mT)
    assert torch.equal(replaced.knn(5, xyz.mT.contiguous(), centers.mT.contiguous(), True),
                       indices)
    assert torch.equal(replaced.knn(1, xyz)[:, 0], torch.arange(60).int().expand(2, 60))
    assert (replaced.knn(4, xyz[:, :2], centers)[:, 2:] == 0).all()


def test_three_nn_and_interpolate(replaced):
    xyz, centers = clouds()
    distances, indices = replaced.three_nn(centers, xyz)
    expected = torch.cdist(centers.double(), xyz.double()).topk(3, largest=False)
    assert torch.equal(indices.long(), expected.indices) and indices.dtype == torch.int32
    torch.testing.assert_close(distances, expected.values.float())
    features = torch.randn(2, 4, 60, requires_grad=True)
    weights = torch.rand(2, 7, 3)
    out = replaced.three_interpolate(features, indices, weights)
    grouped = replaced.grouping_operation(features, indices)
    assert grouped.shape == (2, 4, 7, 3)
    torch.testing.assert_close(out, (grouped * weights[:, None]).sum(-1))
    gradient, = torch.autograd.grad(out.sum(), features)
    expected = torch.zeros(2, 4, 60).scatter_add(
        2, indices.long().flatten(1)[:, None].expand(2, 4, 21),
        weights.flatten(1)[:, None].expand(2, 4, 21))
    torch.testing.assert_close(gradient, expected)
    distances, indices = replaced.three_nn(centers, xyz[:, :1])
    assert (indices == 0).all() and (distances[..., 1:] == float('inf')).all()


def test_gather_points(replaced):
    features = torch.arange(24.).reshape(2, 3, 4)
    indices = torch.tensor([[3, 3], [0, 2]], dtype=torch.int32)
    assert replaced.gather_points(features, indices).tolist() == [
        [[3, 3], [7, 7], [11, 11]], [[12, 14], [16, 18], [20, 22]]]


@pytest.mark.parametrize('kind', ['D-FPS', 'F-FPS', 'FS'])
def test_points_sampler(replaced, kind):
    xyz, _ = clouds()
    sampler = replaced.PointsSampler([10], [kind], [-1])
    indices = sampler(xyz, torch.rand(2, 4, 60))
    assert indices.shape == (2, 20 if kind == 'FS' else 10)
    assert all(len(set(row.tolist())) == 10 for row in indices[:, :10])


@pytest.mark.parametrize('radius', [.4, None])
def test_query_and_group(replaced, radius):
    xyz, centers = clouds()
    features = torch.rand(2, 4, 60)
    grouped = replaced.QueryAndGroup(radius, 8)(xyz, centers, features)
    assert grouped.shape == (2, 7, 7, 8)
    if radius:
        assert (grouped[:, :3].square().sum(1) < radius ** 2 + 1e-6).all()


def test_pointnet2_of_mmdet3d(replaced):
    pytest.importorskip('mmdet3d', reason='mmdet3d is not installed')
    from mmdet3d.models.backbones import PointNet2SASSG
    from mmdet3d.models.decode_heads import PointNet2Head
    torch.manual_seed(0)
    backbone = PointNet2SASSG(
        in_channels=4, num_points=(64, 16), radius=(.3, .6), num_samples=(16, 8),
        sa_channels=((8, 16), (16, 32)), fp_channels=((32, 16), (16, 8)),
        norm_cfg=dict(type='BN2d'),
        sa_cfg=dict(type='PointSAModule', pool_mod='max', use_xyz=True, normalize_xyz=True))
    head = PointNet2Head(
        fp_channels=((48, 16), (16, 16)), channels=16, num_classes=5, dropout_ratio=0.,
        conv_cfg=dict(type='Conv1d'), norm_cfg=dict(type='BN1d'), act_cfg=dict(type='ReLU'))
    points = torch.rand(2, 200, 4, requires_grad=True)

    def run():
        features = backbone(points)
        logits = head(features)
        assert logits.shape == (2, 5, 200)
        loss = logits.square().mean() + features['fp_features'][-1].square().mean()
        return loss, torch.autograd.grad(
            loss, [points, *backbone.parameters(), *head.parameters()], allow_unused=True)

    backbone.eval()
    head.eval()
    loss, gradients = run()
    assert torch.isfinite(loss) and gradients[0].abs().sum() > 0
    assert all(g is None or torch.isfinite(g).all() for g in gradients)
    for a, b in zip(gradients, run()[1], strict=True):
        assert a is None or torch.equal(a, b)
