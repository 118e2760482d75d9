"""Heatmaps of boxes: the target of center-based detectors, and weights of distillation losses."""
import torch
from torch import Tensor

from .batches import check_batch
from .checks import (
    FLOATING,
    INDEX,
    accumulated,
    check_integer,
    check_integers,
    check_same_device,
    check_tensor,
)


def draw_gaussians_reference(centers: Tensor, radii: Tensor, planes: Tensor, num_planes: int,
                             height: int, width: int) -> Tensor:
    """(num_planes, height, width) float32; centers (K, 2) x, y, radii and planes (K,), int64."""
    device = centers.device
    heatmap = torch.zeros(num_planes, height * width, device=device)
    size = torch.tensor([width, height], device=device)
    kept = ((centers >= 0) & (centers < size)).all(1) & (radii >= 0)
    kept &= (planes >= 0) & (planes < num_planes)
    centers, radii, planes = centers[kept], radii[kept], planes[kept]
    columns = torch.arange(width, device=device)
    rows = torch.arange(height, device=device)[:, None]
    step = max(1, 2 ** 22 // max(1, height * width))
    for begin in range(0, len(planes), step):  # bounds the memory
        some = slice(begin, begin + step)
        x, y = (v[:, None, None] for v in centers[some].unbind(1))
        radius = radii[some, None, None]
        across, down = (columns - x).abs(), (rows - y).abs()
        sigma = (2 * radius.double() + 1) / 6
        square = across.double() * across.double() + down.double() * down.double()
        value = (-square / (2 * sigma * sigma)).exp().float()
        value = torch.where((across <= radius) & (down <= radius), value, 0)
        heatmap.scatter_reduce_(0, planes[some, None].expand(-1, height * width),
                                value.flatten(1), 'amax')
    return heatmap.view(num_planes, height, width)


_draw_gaussians = torch.library.custom_op('mmkd::draw_gaussians', draw_gaussians_reference,
                                          mutates_args=())


@_draw_gaussians.register_fake
def _(centers, radii, planes, num_planes, height, width):
    return centers.new_empty(num_planes, height, width, dtype=torch.float32)


def _truncated(values, limit):
    """Whole numbers of ``values``, towards zero as ``int()``; -1 for what is not finite, is
    negative after that, or is ``limit`` or more."""
    if values.dtype not in FLOATING:
        return torch.where((values >= 0) & (values < limit), values, -1).long()
    # In float64, where int32 and any limit below 2^53 are exact.
    values = values.detach().double()
    return torch.where((values > -1) & (values < limit), values, -1).long()


def draw_gaussian_heatmap(centers, radii, labels, num_classes, grid_size, batch_index=None,
                          batch_size=None):
    """Heatmaps with one Gaussian per box, the larger value where two meet.

    A box draws exp(-d^2 / (2 sigma^2)), sigma = (2 radius + 1) / 6, onto the square of
    2 radius + 1 cells around its center, as mmdet3d's ``draw_heatmap_gaussian`` does. As in its
    CenterHead, a box whose center is off the map draws nothing, even where its square would
    reach the map. No gradient: a heatmap is a target.

    Args:
        centers: (K, 2) x (column), y (row) in cells; integers, or floats, which are truncated
            towards zero as in CenterHead (-0.5 is in cell 0). A box with a NaN or an infinite
            center draws nothing.
        radii: (K,) in cells; integers, or floats, which are truncated. A box whose radius is
            negative, NaN, infinite or 2^53 or more draws nothing.
        labels: (K,) int32 or int64 class of each box; one of class -1 draws nothing.
        num_classes: C.
        grid_size: (X, Y) cells of the map.
        batch_index: (K,) sample of each box.
        batch_size: number of samples. By default one more than the largest index.

    Returns:
        Tensor: (B, C, Y, X) float32 in [0, 1].

    Raises:
        ValueError: wrong shapes, dtypes or devices, a map without a cell, a class outside
            [-1, C), a batch index outside the batch.
    """
    op = 'draw_gaussian_heatmap'
    check_tensor(op, 'centers', centers, ('K', 2), (*FLOATING, *INDEX))
    count = centers.shape[0]
    check_tensor(op, 'radii', radii, (count,), (*FLOATING, *INDEX))
    check_tensor(op, 'labels', labels, (count,), INDEX)
    check_integer(op, 'num_classes', num_classes)
    width, height = check_integers(op, 'grid_size', grid_size, 'XY')
    check_same_device(op, centers=centers, radii=radii, labels=labels)
    batch_index, batch_size = check_batch(op, 'centers', centers, batch_index, batch_size,
                                          ('labels', labels, -1, num_classes))
    labels = labels.long()
    planes = torch.where((labels >= 0) & (labels < num_classes), labels, -1)
    if batch_index is not None:
        planes = torch.where(planes >= 0, batch_index * num_classes + planes, -1)
    cells = torch.stack([_truncated(centers[:, 0], width), _truncated(centers[:, 1], height)], 1)
    heatmap = _draw_gaussians(cells, _truncated(radii, 2 ** 53), planes,
                              batch_size * num_classes, height, width)
    return heatmap.view(batch_size, num_classes, height, width)


def gaussian_radius(size, min_overlap=0.5):
    """Radius in which a box may be off its place and still overlap it by ``min_overlap``.

    The least of the three radii of CornerNet, with the roots as in mmdet3d's
    ``gaussian_radius`` (they are not those of the paper's errata), in the dtype of ``size``;
    half types are computed in float32.

    Args:
        size: (K, 2) floating, length and width in cells.
        min_overlap: intersection over union, above 0 and at most 1.

    Returns:
        Tensor: (K,) radius in cells, not rounded. NaN, with which
        :func:`draw_gaussian_heatmap` draws nothing, where a size is not positive and finite;
        ``.clamp(min=2)`` keeps the NaN.

    Raises:
        ValueError: a wrong shape or dtype, or an overlap outside (0, 1].
    """
    op = 'gaussian_radius'
    check_tensor(op, 'size', size, ('K', 2))
    if isinstance(min_overlap, bool) or not isinstance(min_overlap, (int, float)) \
            or not 0 < min_overlap <= 1:
        raise ValueError(f'{op}: min_overlap must lie in (0, 1], not {min_overlap!r}')
    size = accumulated(size)
    proper = ((size > 0) & size.isfinite()).all(1)
    length, width = size.unbind(1)
    total = width + length
    radii = []
    for a, b, c in ((1, total, length * width * (1 - min_overlap) / (1 + min_overlap)),
                    (4, 2 * total, (1 - min_overlap) * length * width),
                    (4 * min_overlap, -2 * min_overlap * total,
                     (min_overlap - 1) * length * width)):
        radii.append((b + (b ** 2 - 4 * a * c).sqrt()) / 2)
    least = torch.minimum(torch.minimum(radii[0], radii[1]), radii[2])
    return torch.where(proper, least, torch.nan)
