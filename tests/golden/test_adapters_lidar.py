"""The adapters of LiDAR from LiDAR: what lies in other cases than the recorded ordinary ones."""
import numpy as np
import pytest
import torch

from mmkd.models.losses.bev import PointDistillerLoss, PointDistillerMapLoss
from tests.golden.files import CaseError
from tests.golden.handmade_3d import write_bare
from tests.golden.replay import replay


def numpy(**tensors):
    return {name: x.detach().numpy() for name, x in tensors.items()}


def replayed(folder, family, args, arrays):
    _, error, _, problems = replay(write_bare(folder, family, args, arrays, np.float64))
    return problems or error


def sparsekd(size, boxes, reg):
    """By loops over boxes; ``size`` of the student's maps, 2 times smaller or the teacher's own."""
    random = np.random.default_rng(0)
    student, logits = random.uniform(.1, .9, (2, 3, *size)), random.standard_normal((2, 3, 4, 6))
    drawn = random.random((2, 3, 4, 6)) * bool(boxes)
    masks = np.zeros((2, 5), dtype=int)
    masks[0, :boxes] = 1
    inds = random.integers(0, 24, (2, 5))
    teacher = np.clip(1 / (1 + np.exp(-logits)), 1e-4, 1 - 1e-4)
    leaf = torch.from_numpy(student).requires_grad_()
    s = leaf if size == (4, 6) else torch.nn.functional.interpolate(leaf, (4, 6), mode='bilinear')
    pivotal = torch.from_numpy(teacher.max(1) * drawn.max(1))
    heatmap = 7 * ((s - torch.from_numpy(teacher)).square().sum(1) * pivotal).sum() / (
        pivotal.sum() + 1e-6)
    heatmap.backward()
    arrays = dict(student_hm=student, teacher_hm_logits=logits, gt_heatmap=drawn, inds=inds,
                  masks=masks, grad_student_hm=leaf.grad.numpy())
    heatmap = heatmap.item()
    total = 0.
    for name, count in (('center', 2), ('center_z', 1)) if reg else ():
        ours = arrays[f'student_reg.{name}'] = random.standard_normal((2, count, *size))
        theirs = arrays[f'teacher_reg.{name}'] = random.standard_normal((2, count, 4, 6))
        if size == (4, 6):
            total += sum(abs(ours[0, c, i // 6, i % 6] - theirs[0, c, i // 6, i % 6])
                         for i in inds[0, :boxes] for c in range(count)) / max(boxes, 1)
    return dict(arrays, loss_hm=np.array(heatmap), loss_reg=np.array(.2 * total),
                loss_total=np.array(heatmap + .2 * total))


@pytest.mark.parametrize('boxes', [3, 0])
@pytest.mark.parametrize('size, reg', [((4, 6), True), ((2, 3), True), ((2, 3), False)])
def test_sparsekd(tmp_path, size, reg, boxes):
    args = dict(hm_weight=7., reg_weight=.2, code_weights=[1] * 8)
    assert replayed(tmp_path, 'sparsekd_7', args, sparsekd(size, boxes, reg)) < 1e-12


def graphs(form, reweight):
    """mmkd's own numbers, of which test_pointdistiller.py has the loops."""
    torch.manual_seed(0)
    shape = (12,) if form is PointDistillerLoss else (2, 3, 4)
    student, teacher = (torch.randn(*shape[:1], c, *shape[1:]).double() for c in (3, 4))
    student.requires_grad_()
    counts = torch.tensor([3, 1, 2, 2, 2, 2, 5, 1, 1, 2, 2, 4])  # many are equally full
    loss = form(3, 4, 6, 5, 5, reweight).double()
    if form is PointDistillerLoss:
        rows, scores, given = teacher[None], counts[None], dict(num_points=counts)
        value = loss(student, teacher, given, torch.arange(12).expand(2, -1))
    else:
        rows, given = teacher.flatten(2).mT, {}
        scores, value = rows.amax(2), loss(student, teacher)
    value.backward()
    query = loss.choose(scores)
    arrays = numpy(teacher_feature=teacher, student_feature=student, loss=value[None], knn=loss.
                   neighbours(rows, query), grad_student_feature=student.grad, **given)
    arrays['query'] = query.numpy()[0] if form is PointDistillerLoss else query.numpy()
    for side in ('teacher', 'student'):
        layer = getattr(loss, f'{side}_graph')
        arrays |= numpy(**{f'{side}_adapt.conv_weight': layer.conv.weight,
                           f'{side}_adapt.bn_weight': layer.bn.weight,
                           f'{side}_adapt.bn_bias': layer.bn.bias,
                           f'grad_{side}_adapt_conv': layer.conv.weight.grad})
    return arrays


FORMS = {'pointdistiller_pillars_ties': PointDistillerLoss,
         'pointdistiller_second_backbone': PointDistillerMapLoss}


@pytest.mark.parametrize('reweight', [True, False])
@pytest.mark.parametrize('family', FORMS)
def test_pointdistiller(tmp_path, family, reweight):
    args = dict(num_voxels=6, kneighbours=5, reweight=reweight)
    arrays = graphs(FORMS[family], reweight)
    assert replayed(tmp_path, family, args, arrays) < 1e-9
    mixed = dict(arrays, knn=arrays['knn'][..., ::-1].copy())  # neighbours have no order
    assert replayed(tmp_path, family, args, mixed) < 1e-9
    arrays['knn'] = (arrays['knn'] + 1) % 12
    with pytest.raises(CaseError, match='knn are not the nearest'):
        replayed(tmp_path, family, args, arrays)
