"""SLidR's superpixel InfoNCE around mmkd.ops.segment_mean.

mmkd has no class for this loss yet: what is replayed is the means of both sides and their
gradients; the cross-entropy between them is written out here.
"""
import torch
import torch.nn.functional as F

from mmkd.ops import segment_mean
from tests.golden.case import Outcome, gradient
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'point_feat': 'float P C', 'image_feat': 'float I C H W', 'superpixels': 'int I H W',
           'pairing_points': 'int M', 'pairing_images': 'int M 3'},
    expected={'loss': 'float'}, gradients=('point_feat', 'image_feat'))


def run(case):
    args = case.arguments(temperature=0.07, superpixel_size=None)
    per_image = args['superpixel_size']
    if per_image is None:
        raise CaseError(f'{case.name}: the argument superpixel_size is missing')
    points, image = case.input('point_feat'), case.input('image_feat')
    superpixels = case.input('superpixels').long()
    paired, pixels = case.input('pairing_points').long(), case.input('pairing_images').long()
    check_range(case, 'superpixels', superpixels, per_image)
    check_range(case, 'pairing_points', paired, len(points))
    check_range(case, 'pairing_images', pixels, torch.tensor(superpixels.shape))
    total = len(superpixels) * per_image
    ids = superpixels + torch.arange(0, total, per_image)[:, None, None]
    with case.feed_draws():
        k = segment_mean(points[paired], ids[pixels.unbind(1)], total, eps=1e-6)
        q = segment_mean(image.permute(0, 2, 3, 1).flatten(0, 2), ids.flatten(), total, eps=1e-6)
    seen = k[:, 0] != 0  # the official test for a superpixel with points
    logits = k[seen] @ q[seen].t() / args['temperature']
    loss = F.cross_entropy(logits, torch.arange(len(logits))) if seen.any() else logits.sum()
    # a loss close to zero, and its gradient, are differences from what the diagonal gives
    chosen = logits.diagonal().sum() / max(len(logits), 1)
    terms = {f'grad__loss__{name}': gradient(chosen, case.input(name))
             for name in ('point_feat', 'image_feat')}
    return Outcome({'loss': loss}, zero=() if seen.any() else ('loss',),
                   terms=terms | {'out__loss': logits})


def check_range(case, name, indices, size):
    """Refuses indices outside [0, size)."""
    if ((indices < 0) | (indices >= size)).any():
        raise CaseError(f'{case.name}: {name} must lie in [0, {size})')
