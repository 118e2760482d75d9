"""Where PGD distils: places at which the teacher predicts an object well, and background.

Rows are the places a head predicts from (its points, or the centres of its anchors), of all
levels together.
"""
import torch

from ..boxes import overlaps
from ..full_precision import full_precision


@torch.no_grad()
def prediction_weights(centres, logits, predicted, boxes, labels, topk, alpha, low_bound=0.,
                       transposed=False):
    """How well the teacher predicts an object, as a Gaussian around where it does so best.

    For each object the quality of a place is sigmoid(score of its class) ** (1 - alpha) *
    IoU ** alpha. A Gaussian is fitted to the ``topk`` best places; their weights are its values,
    1 at its centre, and all other weights are 0, as are those of places that are not inside the
    box. Where boxes overlap, the larger weight counts.

    The fit adds a random jitter of up to 0.05 pixels to the places, so that they never lie on a
    line. Where there are fewer places than ``topk`` all of them are taken.

    Args:
        centres: (P, 2), xy in pixels.
        logits: (P, K), the teacher's class scores before the sigmoid.
        predicted: (P, 4), the teacher's boxes, xyxy.
        boxes: (n, 4), the objects.
        labels: (n,) int64, their classes, below K.
        topk: number of places of an object.
        alpha: how much the overlap counts against the score, from 0 to 1.
        low_bound: weights below it become 0.
        transposed: see :func:`inside`.

    Returns:
        (P,), zeros where there is no object.
    """
    weights = centres.new_zeros(len(centres))
    topk = min(topk, len(centres))
    if not len(boxes) or not topk:
        return weights
    quality = logits[:, labels].sigmoid() ** (1 - alpha) * overlaps(predicted, boxes) ** alpha
    best = quality.topk(topk, dim=0).indices  # (topk, n)
    weights = torch.zeros_like(quality).scatter_(0, best, gaussian(centres[best.T]).T)
    weights = (weights * inside(centres, boxes, transposed)).amax(1)
    return torch.where(weights < low_bound, torch.zeros_like(weights), weights)


@torch.no_grad()
def background_weights(centres, boxes, transposed=False):
    """(P,): 1 for places in no box, else 0; arguments as for :func:`prediction_weights`."""
    return (~inside(centres, boxes, transposed).any(1)).to(centres.dtype)


def inside(centres, boxes, transposed=False):
    """(P, n) bool: whether places (P, 2) lie strictly inside boxes (n, 4).

    Args:
        transposed: whether x and y of the places are exchanged for this test, as in the official
            code for heads without anchors.
    """
    if transposed:
        centres = centres.flip(1)
    return ((centres[:, None] > boxes[:, :2]) & (centres[:, None] < boxes[:, 2:])).all(2)


def gaussian(places):
    """The densities of ``places`` (n, k, 2) under the Gaussian fitted to each n: (n, k), 1 at its
    centre."""
    if places.shape[1] == 1:
        return places.new_ones(places.shape[:2])
    jitter = (torch.rand(places.shape, device=places.device) - 0.5) * 0.1
    moved = places + jitter.to(places)
    mean = moved.mean(1, keepdim=True)
    x, y = (moved - mean).unbind(2)
    xx, xy, yy = (x * x).mean(1), (x * y).mean(1), (y * y).mean(1)
    # of two places only rounding is left of the determinant, and it may be negative
    determinant = (xx * yy - xy * xy).clamp(min=0) + 1e-10
    a, b, c = ((part / determinant)[:, None] for part in (yy, -xy, xx))  # the inverse
    x, y = (places - mean).unbind(2)
    distance = (x * a + y * b) * x + (x * b + y * c) * y
    return (-0.5 * distance.clamp(min=0)).exp()


@torch.no_grad()
def weight_maps(cls, reg, boxes, labels, head, transposed=False, **how):
    """Both kinds of weights for a batch, where each map of the teacher has them.

    A place has the largest weight of its anchors. The padding of a batch counts as background.

    Args:
        cls, reg: lists of (N, A*K, H, W) and (N, A*D, H, W), the teacher's predictions of all
            levels, raw.
        boxes, labels: lists of N tensors (n, 4) and (n,).
        head: the teacher's head, a DenseHead.
        how: topk, alpha and low_bound of :func:`prediction_weights`.

    Returns:
        Two lists of (N, H, W), one per level.
    """
    classes, sizes = head.num_classes, [x.shape[2:] for x in cls]
    counts = [x.shape[1] // classes for x in cls]  # anchors of a place
    lengths = [h * w * count for (h, w), count in zip(sizes, counts, strict=True)]
    logits = torch.cat([x.float().permute(0, 2, 3, 1).reshape(len(x), length, classes)
                        for x, length in zip(cls, lengths, strict=True)], 1)
    with full_precision(logits):  # boxes of 1000 pixels need float32
        predicted = torch.cat(head.decode(reg), 1).to(logits)
    centres = torch.cat([points.repeat_interleave(count, 0) for points, count in
                         zip(head.points(sizes), counts, strict=True)]).to(logits)
    rows = [], []
    for image, (found, of_class) in enumerate(zip(boxes, labels, strict=True)):
        found = found.to(logits)
        rows[0].append(prediction_weights(centres, logits[image], predicted[image], found,
                                          of_class, transposed=transposed, **how))
        rows[1].append(background_weights(centres, found, transposed))
    return [[part.reshape(len(part), *size, count).amax(3) for part, size, count in zip(
        torch.stack(weights).split(lengths, 1), sizes, counts, strict=True)]
        if weights else [x.new_zeros(0, *size) for x, size in zip(cls, sizes, strict=True)]
        for weights in rows]
