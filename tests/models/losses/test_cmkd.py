"""CMKD: what counts as an object, where the labels come from, and awkward teachers."""
import pytest
import torch
import torch.nn.functional as F

from mmkd.models.losses.bev import CMKDAnchorLoss, CMKDCenterLoss, CMKDFeatureLoss

ANCHORS, CLASSES = 2, 3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- feature ----------------------------------------------------------------------------------
def test_empty_cells_of_the_teacher_weigh_less():
    student, teacher = draw(2, 3, 4, 5), draw(2, 3, 4, 5, seed=1)
    teacher[:, :, 2:], teacher[:, 0, 0, 0] = 0, 0  # a channel alone makes no cell empty
    mask = torch.ones(2, 1, 4, 5).double()
    mask[:, :, 2:] = .05
    mask = mask.expand(-1, 3, -1, -1)
    expected = ((student - teacher).square() * mask).mean() * mask.numel() / mask.sum()
    torch.testing.assert_close(CMKDFeatureLoss(use_nonzero_mask=True)(student, teacher), expected)
    assert CMKDFeatureLoss(use_nonzero_mask=True)(student, teacher * 0) > 0


def test_kinds():
    student, teacher = draw(1, 2, 3, 3), draw(1, 2, 3, 3, seed=1)
    torch.testing.assert_close(CMKDFeatureLoss('L1')(student, teacher), F.l1_loss(student, teacher))
    with pytest.raises(ValueError, match="kind='L3'"):
        CMKDFeatureLoss('L3')


# ---- anchors ----------------------------------------------------------------------------------
def anchor_maps(batch=2, seed=0, size=(3, 4)):
    widths = dict(cls=ANCHORS * CLASSES, box_reg=ANCHORS * 7, dir_cls=ANCHORS * 2)
    return {name: draw(batch, width, *size, seed=seed + i)
            for i, (name, width) in enumerate(widths.items())}


def written_out(student, teacher):
    """One anchor after the other."""
    batch, _, height, width = student['cls'].shape
    parts = dict(cls=0., loc=0., dir=0.)

    def rows(maps, name, b):
        x = maps[name][b]
        return [x.view(ANCHORS, -1, height, width)[a, :, i, j] for a in range(ANCHORS)
                for i in range(height) for j in range(width)]

    for b in range(batch):
        s, t = (torch.stack(rows(x, 'cls', b)).sigmoid() for x in (student, teacher))
        for k in range(CLASSES):
            entropy = -(t[:, k] * s[:, k].log() + (1 - t[:, k]) * (1 - s[:, k]).log())
            parts['cls'] += (entropy * (s - t)[:, k] ** 2).sum() / max(1, int((t[:, k] > .1).sum()))
        certain = t.sum(1)
        count = max(1, int((certain > .1).sum()))
        for n, (p, q, d, e) in enumerate(zip(
                rows(student, 'box_reg', b), rows(teacher, 'box_reg', b),
                rows(student, 'dir_cls', b), rows(teacher, 'dir_cls', b), strict=True)):
            if certain[n] <= .1:
                continue
            gap = torch.cat([p[:6] - q[:6], (p[6] - q[6]).sin()[None]]).abs()
            smooth = torch.where(gap < 1 / 9, 4.5 * gap ** 2, gap - 1 / 18).sum()
            share = certain[n] / count / batch
            parts['loc'] += smooth * share
            parts['dir'] += (d.logsumexp(0) - d[e.argmax()]) * share
    return {name: value * dict(cls=2., loc=2., dir=.4)[name] for name, value in parts.items()}


@pytest.mark.parametrize('shift', [0., -3.])
def test_anchors_one_after_the_other(shift):
    student, teacher = anchor_maps(), anchor_maps(seed=9)
    teacher['cls'] += shift
    found = CMKDAnchorLoss()(student, teacher)
    for name, value in written_out(student, teacher).items():
        torch.testing.assert_close(found[name], torch.as_tensor(value))


def test_a_teacher_that_sees_nothing_teaches_scores_alone():
    student, teacher = anchor_maps(), anchor_maps(seed=9)
    student['cls'].requires_grad_()
    teacher['cls'] -= 1e4
    found = CMKDAnchorLoss()(student, teacher)
    sum(found.values()).backward()
    assert found['cls'] > 0 and found['loc'] == 0 and found['dir'] == 0
    assert torch.isfinite(student['cls'].grad).all()


def test_alike_is_zero_but_for_the_directions_and_the_teacher_gets_no_gradient():
    student = {name: x.requires_grad_() for name, x in anchor_maps().items()}
    teacher = {name: x.detach().clone().requires_grad_() for name, x in student.items()}
    found = CMKDAnchorLoss()(student, teacher)
    sum(found.values()).backward()
    assert found['cls'] < 1e-12 and found['loc'] < 1e-12
    assert all(x.grad is None for x in teacher.values())
    assert student['dir_cls'].grad.any()


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_half_precision(dtype):
    sides = [{name: x.to(dtype) for name, x in anchor_maps(seed=s).items()} for s in (0, 9)]
    half = CMKDAnchorLoss()(*sides)
    full = CMKDAnchorLoss()(*({name: x.float() for name, x in side.items()} for side in sides))
    for name, value in half.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, full[name])


def test_no_sample_is_zero_with_a_graph():
    student = {name: x.requires_grad_() for name, x in anchor_maps(0).items()}
    found = CMKDAnchorLoss()(student, anchor_maps(0))
    assert all(value == 0 and value.requires_grad for value in found.values())


@pytest.mark.parametrize('change, message', [
    (lambda s, t: t.pop('dir_cls'), 'teacher has no dir_cls'),
    (lambda s, t: t.update(anchor_maps(size=(4, 4))), 'anchors at other places'),
    (lambda s, t: [x.update(box_reg=x['box_reg'][:, :10]) for x in (s, t)], 'not those of A'),
    (lambda s, t: [x.update(cls=x['cls'][:, :5]) for x in (s, t)], 'not those of A'),
    (lambda s, t: t.update(anchor_maps(3)), 'same images')])
def test_anchors_that_do_not_fit_are_refused(change, message):
    student, teacher = anchor_maps(), anchor_maps(seed=9)
    change(student, teacher)
    with pytest.raises(ValueError, match=message):
        CMKDAnchorLoss()(student, teacher)


# ---- centers ----------------------------------------------------------------------------------
def center_maps(seed=0, batch=2, channels=10, size=(4, 5)):
    return dict(heatmap=[draw(batch, k, *size, seed=seed + k) for k in (1, 2)],
                reg=[draw(batch, channels, *size, seed=seed + 5 + k) for k in (1, 2)])


@pytest.mark.parametrize('channels', [8, 10])
@pytest.mark.parametrize('twice', [False, True])
def test_centers_task_by_task(channels, twice):
    student, teacher = center_maps(channels=channels), center_maps(9, channels=channels)
    cls = reg = 0.
    for s, t, p, q in zip(student['heatmap'], teacher['heatmap'], student['reg'], teacher['reg'],
                          strict=True):
        target, score = t.sigmoid(), s.sigmoid()
        again = score.sigmoid() if twice else score
        entropy = -(target * again.log() + (1 - target) * (1 - again).log())
        cls += (entropy * (score - target) ** 2).sum() / max(1, int((target >= .5).sum()))
        gap = (p - q).abs()
        smooth = torch.where(gap < 1, gap ** 2 / 2, gap - .5) * t.sum(1, keepdim=True).sigmoid()
        reg += sum(part.mean() for part in smooth.split([2, 1, 3, 2, 2][:channels // 2], 1))
    found = CMKDCenterLoss(sigmoid_twice=twice)(student, teacher)
    torch.testing.assert_close(found['cls'], .2 * cls)
    torch.testing.assert_close(found['reg'], 50 * reg)


def test_centers_that_nobody_predicts_are_finite():
    student, teacher = center_maps(), center_maps(9)
    student['heatmap'] = [x.requires_grad_() for x in student['heatmap']]
    teacher['heatmap'] = [x - 1e4 for x in teacher['heatmap']]
    found = CMKDCenterLoss()(student, teacher)
    sum(found.values()).backward()
    assert found['reg'] == 0 and all(torch.isfinite(x.grad).all() for x in student['heatmap'])


def test_centers_on_other_cells_are_resized():
    found = CMKDCenterLoss()(center_maps(size=(8, 10)), center_maps(9))
    assert all(torch.isfinite(value) for value in found.values())


def test_centers_that_do_not_fit_are_refused():
    teacher = center_maps(9)
    with pytest.raises(ValueError, match='student has no reg'):
        CMKDCenterLoss()(dict(heatmap=[]), teacher)
    with pytest.raises(ValueError, match='8 or, with the velocity, 10'):
        CMKDCenterLoss()(center_maps(channels=9), center_maps(9, channels=9))
    teacher['reg'] = teacher['reg'][:1]
    with pytest.raises(ValueError, match='2 levels, teacher 1'):
        CMKDCenterLoss()(center_maps(), teacher)
