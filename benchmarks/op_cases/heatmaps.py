"""CenterPoint's heatmap targets: 200 boxes a sample, 10 classes, 128 x 128 cells; ``scale``
times 4 samples."""
import torch

from mmkd.ops.heatmaps import draw_gaussian_heatmap, gaussian_radius

from . import Case
from .bev_masks import BOXES, CELLS, RANGE, SAMPLES, traffic

CLASSES = 10
STEP = (RANGE[3] - RANGE[0]) / CELLS


def with_mmdet3d(boxes, labels, batch_index, samples):
    """The loop over boxes of mmdet3d's CenterHead, without what it does beside the heatmap."""
    try:
        from mmdet3d.models.utils import draw_heatmap_gaussian
        from mmdet3d.models.utils import gaussian_radius as radius_of
    except ImportError:
        return None
    low = torch.tensor(RANGE[:2])

    def run():
        heatmap = boxes.new_zeros(samples, CLASSES, CELLS, CELLS)
        for k in range(len(boxes)):
            length, width = boxes[k, 3] / STEP, boxes[k, 4] / STEP
            radius = max(2, int(radius_of((width, length), min_overlap=.1)))
            center = torch.stack([(boxes[k, 0] - low[0]) / STEP, (boxes[k, 1] - low[1]) / STEP])
            draw_heatmap_gaussian(heatmap[batch_index[k], labels[k]], center.to(torch.int32),
                                  radius)
        return heatmap
    return run


def cases(device, scale):
    samples = SAMPLES * scale
    boxes = traffic(BOXES * samples).to(device)
    batch_index = torch.arange(samples, device=device).repeat_interleave(BOXES)
    labels = torch.arange(len(boxes), device=device) % CLASSES
    low = torch.tensor(RANGE[:2], device=device)

    def ours():
        radii = gaussian_radius(boxes[:, 3:5] / STEP, .1).clamp(min=2)
        return draw_gaussian_heatmap((boxes[:, :2] - low) / STEP, radii, labels, CLASSES,
                                     (CELLS, CELLS), batch_index, samples)

    def vectorised():
        """All boxes at once, each a product of a row and a column."""
        radii = gaussian_radius(boxes[:, 3:5] / STEP, .1).clamp(min=2).floor()
        centers = ((boxes[:, :2] - low) / STEP).floor()
        cells = torch.arange(CELLS, device=device)
        far = (cells - centers[..., None]).abs()  # (K, 2, cells)
        sigma = (2 * radii + 1) / 6
        along = torch.where(far <= radii[:, None, None],
                            (-far.square() / (2 * sigma.square())[:, None, None]).exp(), 0)
        heatmap = torch.zeros(samples * CLASSES, CELLS, CELLS, device=device)
        return heatmap.index_reduce_(0, batch_index * CLASSES + labels,
                                     along[:, 1, :, None] * along[:, 0, None, :], 'amax')
    size = f'{samples} x {BOXES} boxes, {CLASSES} x {CELLS} x {CELLS} cells'
    moved = samples * CLASSES * CELLS * CELLS * 4
    return [Case('draw_gaussian_heatmap', size, ours,
                 with_mmdet3d(boxes, labels, batch_index, samples), "mmdet3d's loop over boxes",
                 .02, moved),
            Case('draw_gaussian_heatmap', size, ours, vectorised, 'PyTorch, all boxes at once',
                 None, moved, grows=False)]
