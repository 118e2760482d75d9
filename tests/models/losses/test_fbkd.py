"""FBKD against its formula, with all pairs of positions written out."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmkd.models.losses.feature import FBKDLoss
from mmkd.models.losses.feature.fbkd import NonLocal


def maps(shape=(2, 4, 4, 6), other=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(shape, generator=generator, dtype=torch.float64)
    teacher = torch.randn(other or shape, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher


def built(student=4, teacher=4, seed=0, **options):
    """With weights that are not small, and norms that do something."""
    torch.manual_seed(seed)
    loss = FBKDLoss(student, teacher, **options).double()
    for name, parameter in loss.named_parameters():
        if '_block' in name:
            nn.init.normal_(parameter, std=0.5)
    return loss


def alike(channels=4, **options):
    """A loss for which equal maps are at no distance: its layers pass a map on."""
    loss = built(channels, channels, **options)
    loss.teacher_block.load_state_dict(loss.student_block.state_dict())
    nn.init.eye_(loss.adapt_channel.weight)
    for conv in (loss.adapt_feat, loss.adapt_spatial, loss.adapt_nonlocal):
        nn.init.dirac_(conv.weight)
    for layer in (loss.adapt_feat, loss.adapt_channel, loss.adapt_spatial, loss.adapt_nonlocal):
        nn.init.zeros_(layer.bias)
    return loss


def root_of_squares(x):
    return sum(value ** 2 for value in x.flatten().tolist()) ** 0.5


def attention(x, axes, tau):
    strength = x.detach().abs().mean(axes, keepdim=True)
    return strength.numel() / len(x) * (strength.flatten(1) / tau).softmax(1).view(strength.shape)


@pytest.mark.parametrize('channel_mask', [False, True])
def test_the_four_distances(channel_mask):
    student, teacher = maps()
    loss = built(spatial_T=0.3, channel_T=0.7, channel_mask=channel_mask)
    parts = loss.parts(student, teacher)
    mask = (attention(student, (1,), 0.3) + attention(teacher, (1,), 0.3)) / 2
    if channel_mask:
        mask = mask * (attention(student, (2, 3), 0.7) + attention(teacher, (2, 3), 0.7)) / 2
    expected = {
        'feat': (teacher - loss.adapt_feat(student)) * mask.sqrt(),
        'channel': teacher.mean((2, 3)) - loss.adapt_channel(student.mean((2, 3))),
        'spatial': teacher.mean(1, True) - loss.adapt_spatial(student.mean(1, True)),
        'nonlocal': loss.teacher_block(teacher) - loss.adapt_nonlocal(loss.student_block(student))}
    assert list(parts) == list(expected)
    for name, difference in expected.items():
        assert parts[name].item() == pytest.approx(root_of_squares(difference), rel=1e-6), name
    weighted = built(mask_l2_weight=2., channel_weight=3., spatial_weight=5., nonlocal_weight=7.,
                     spatial_T=0.3, channel_T=0.7, channel_mask=channel_mask)(student, teacher)
    for name, weight in zip(expected, (2, 3, 5, 7), strict=True):
        assert weighted[name].item() == pytest.approx(weight * parts[name].item(), rel=1e-6)


def all_pairs(block, x):
    """The block's sum over pairs, with loops over images and positions."""
    pool = [min(block.pooling, side) for side in x.shape[2:]]
    related = torch.zeros_like(block.theta(x))
    g, phi = (F.max_pool2d(conv(x), pool).flatten(2) for conv in (block.g, block.phi))
    for n in range(x.shape[0]):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                theta = block.theta(x)[n, :, i, j]
                related[n, :, i, j] = sum((theta @ phi[n, :, k]) * g[n, :, k]
                                          for k in range(g.shape[2])) / g.shape[2]
    return x + block.norm(block.out(related))


@pytest.mark.parametrize('pooling', [1, 2, 3])
def test_no_matrix_of_pairs_is_needed(pooling):
    torch.manual_seed(0)
    block = NonLocal(4, 2, pooling).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = maps()[0].detach()
    torch.testing.assert_close(block(x), all_pairs(block, x))


def test_blocks_begin_as_the_identity_and_are_all_trained():
    student, teacher = maps()
    loss = FBKDLoss(4, 4).double()
    for block, x in ((loss.student_block, student), (loss.teacher_block, teacher)):
        assert torch.equal(block(x), x)
    loss = built()
    sum(loss(student, teacher).values()).backward()
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize('stride, inner, pooling', [
    (4, 2, 16), (8, 2, 8), (16, 4, 4), (32, 4, 4), (64, 4, 4), (128, 4, 4), (None, 4, 4)])
def test_width_and_windows_by_stride(stride, inner, pooling):
    loss = FBKDLoss(8, 8, stride=stride)
    for block in (loss.student_block, loss.teacher_block):
        assert (block.theta.out_channels, block.pooling) == (inner, pooling)
    assert FBKDLoss(8, 8, stride, 8, 3).student_block.theta.out_channels == 1
    assert FBKDLoss(8, 8, stride, 8, 3).student_block.pooling == 3
    assert FBKDLoss(1, 1, stride).student_block.theta.out_channels == 1


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1), (3, 2), (5, 9)])
@pytest.mark.parametrize('stride', [4, 32])
@pytest.mark.parametrize('n', [1, 2])
def test_small_maps(size, stride, n):
    student, teacher = maps((n, 4, *size))
    loss = built(stride=stride)
    value = sum(loss(student, teacher).values())
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all() and student.grad.any()
    assert all(p.grad.isfinite().all() for p in loss.parameters())
    assert torch.isfinite(sum(loss.eval()(student, teacher).values()))


def test_equal_maps_have_a_gradient_of_zero_not_nan():
    student, _ = maps()
    loss = alike()
    parts = loss.parts(student, student.detach().clone())
    sum(parts.values()).backward()
    assert all(part == 0 for part in parts.values())
    assert not student.grad.any()
    assert all(not p.grad.any() for p in loss.parameters())


def test_channels_may_differ_but_for_the_channel_mask():
    student, teacher = maps((2, 3, 4, 6), (2, 5, 4, 6))
    sum(built(3, 5)(student, teacher).values()).backward()
    assert student.grad.isfinite().all()
    with pytest.raises(ValueError, match='channel_mask=True with 3 .* 5 .*ConvConnector'):
        FBKDLoss(3, 5, channel_mask=True)
    with pytest.raises(ValueError, match='student_channels=None'):
        FBKDLoss(teacher_channels=5)


def test_the_gradient_is_that_of_the_value():
    student, teacher = maps((2, 2, 3, 4))
    loss = built(2, 2, pooling=2)
    # the attention is a constant to the gradient: it may not move with the student here
    loss.mask = lambda *maps: torch.ones(2, 1, 3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: sum(loss(x, teacher).values()), student)


def test_scale_per_level():
    """Twice the height and width: twice 'feat', 'spatial' and 'nonlocal'; 'channel' is no more."""
    loss = alike(16, pooling=2)
    fine, coarse = (loss.parts(*maps((2, 16, *size))) for size in ((32, 48), (16, 24)))
    for name, ratio in {'feat': 2, 'spatial': 2, 'nonlocal': 2}.items():
        assert (fine[name] / coarse[name]).item() == pytest.approx(ratio, rel=0.2), name
    assert fine['channel'] < 1.2 * coarse['channel']
