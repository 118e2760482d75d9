"""Boxes of a batch on the cells of a map seen from above."""
import torch

from mmkd.ops import check_values, draw_gaussian_heatmap, gaussian_radius


def gather_boxes(boxes_3d, like):
    """The boxes of a batch in one list.

    Args:
        boxes_3d: of each sample (K_b, 7 or more): x, y, z, dx, dy, dz, yaw; metres and radians.
        like: a tensor of the device that is wanted.

    Returns:
        (K, 7) float32 or float64, and (K,) int64, the sample of each box.
    """
    dtype = torch.promote_types(boxes_3d[0].dtype, torch.float32) if boxes_3d else torch.float32
    rows = [boxes[:, :7].to(like.device, dtype) for boxes in boxes_3d]
    index = [torch.full((len(boxes),), i, dtype=torch.int64, device=like.device)
             for i, boxes in enumerate(rows)]
    if not rows:
        return like.new_zeros((0, 7), dtype=dtype), like.new_zeros((0,), dtype=torch.int64)
    return torch.cat(rows), torch.cat(index)


@torch.no_grad()
def foreground_gaussians(boxes_3d, bev_range, size, like, min_overlap=0.1, min_radius=1, beyond=0):
    """One Gaussian for each box, the largest where several meet.

    Args:
        boxes_3d: of each sample (K_b, 7 or more), see :func:`gather_boxes`.
        bev_range: (x_min, y_min, x_max, y_max) of the map, metres.
        size: (Y, X) cells of the map.
        like: a tensor of the device that is wanted.
        min_overlap: IoU that a box keeps when it is moved by the Gaussian's radius.
        min_radius: smallest radius, cells.
        beyond: cells around the map: a box whose center is there draws what reaches the map, and
            one farther out nothing.

    Returns:
        (B, 1, Y, X) float32.
    """
    boxes, batch = gather_boxes(boxes_3d, like)
    low, high = boxes.new_tensor(bev_range).split(2)
    cell = (high - low) / boxes.new_tensor([size[1], size[0]])
    # floor: a box just outside must not be drawn into the first cell
    centers = ((boxes[:, :2] - low) / cell).floor()
    radii = gaussian_radius(boxes[:, 3:5] / cell, min_overlap).trunc().clamp(min=min_radius)
    with check_values(False):  # the numbers are our own: a GPU need not be waited for
        drawn = draw_gaussian_heatmap(centers + beyond, radii, torch.zeros_like(batch), 1,
                                      (size[1] + 2 * beyond, size[0] + 2 * beyond), batch,
                                      len(boxes_3d))
    return drawn[..., beyond:beyond + size[0], beyond:beyond + size[1]]


def check_boxes(owner, boxes_3d, batch):
    """Raise ValueError if there is not one tensor of boxes (K, 7 or more) for each sample."""
    if len(boxes_3d) != batch or any(x.dim() != 2 or x.shape[1] < 7 for x in boxes_3d):
        raise ValueError(f'{owner}: boxes_3d must be {batch} tensors (K, 7 or more), one for each '
                         f'sample, not {[tuple(x.shape) for x in boxes_3d]}')
