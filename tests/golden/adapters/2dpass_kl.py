"""2DPASS' divergence of the points' classes from those of the fused branch, of one scale: KDLoss of
points as the pixels of a map. Over no point the official mean is 0 / 0, ours 0."""
from mmkd.models.losses.logit import KDLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(given={'point_pred': 'float P K', 'fuse_pred': 'float P K'},
                    expected={'loss_raw': 'float', 'loss': 'float'}, gradients=('point_pred',))


def run(case):
    args = case.arguments(lambda_xm=0.05, num_scales=4, reduction='mean (over elements)')
    if not str(args['reduction']).startswith('mean'):
        raise CaseError(f"{case.name}: reduction={args['reduction']!r}: only the mean is known")
    points, fused = (case.input(name).T[None, ..., None] for name in ('point_pred', 'fuse_pred'))
    loss = KDLoss(reduction='element', tau_squared=False)(points, fused.detach())
    return Outcome({'loss': args['lambda_xm'] / args['num_scales'] * loss}, {'loss_raw': loss},
                   zero=('loss', 'loss_raw'))
