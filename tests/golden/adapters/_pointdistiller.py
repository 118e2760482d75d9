"""What PointDistiller's two forms share in recorded cases."""
import torch

from mmkd.models.losses.bev.pointdistiller import rows_at
from tests.golden.case import Outcome, gradient
from tests.golden.files import CaseError

ADAPTERS = {f'{side}_adapt.{name}': f'float D {letter} 1 1' if name == 'conv_weight' else 'float D'
            for side, letter in (('teacher', 'U'), ('student', 'V'))
            for name in ('conv_weight', 'bn_weight', 'bn_bias')}


#: official arguments that must be as released
RELEASED = dict(factor_reweight=2, factor_plain='torch.dist * 5e-4', sample_mode='top',
                fuse_mode='idendity')


def build(case, cls, args, **others):
    """The loss with the recorded weights."""
    other = [name for name, value in RELEASED.items() if args[name] != value]
    if other:
        raise CaseError(f"{case.name}: {', '.join(other)} must be as released: {RELEASED}")
    sides = {side: case.input(f'{side}_adapt.conv_weight') for side in ('student', 'teacher')}
    criterion = cls(sides['student'].shape[1] // 2, sides['teacher'].shape[1] // 2,
                    args['num_voxels'], args['kneighbours'], len(sides['student']),
                    args['reweight'], **others).to(case.dtype).train()
    for side, weight in sides.items():
        layer = getattr(criterion, f'{side}_graph')
        layer.conv.weight.data.copy_(weight.detach())
        for name in ('weight', 'bias'):
            getattr(layer.bn, name).data.copy_(case.input(f'{side}_adapt.bn_{name}').detach())
    return criterion


def check_choice(case, criterion, scores, teacher, query, neighbours):
    """Refuses centers or neighbours that are worse than mmkd's own."""
    ours = criterion.choose(scores)
    if not torch.equal(*(scores.gather(1, x).sort(1).values for x in (ours, query))):
        raise CaseError(f'{case.name}: query are not the {ours.shape[1]} places of highest score')
    near = criterion.neighbours(teacher, query)
    centers = rows_at(teacher, query)[:, :, None]
    mine, theirs = ((rows_at(teacher, x.flatten(1)).unflatten(1, x.shape[1:]) - centers).square()
                    .sum(3).sort(2).values for x in (near, neighbours))
    if mine.shape != theirs.shape or not torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5):
        raise CaseError(f'{case.name}: knn are not the nearest {near.shape[2]}')


def outcome(criterion, loss):
    return Outcome({'loss': loss}, {
        f'grad_{side}_adapt_conv': gradient(loss, getattr(criterion, f'{side}_graph').conv.weight)
        for side in ('teacher', 'student')})
