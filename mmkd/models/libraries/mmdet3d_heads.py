"""A CenterHead of mmdet3d for losses: its classes, its grid and what it learns.

Maps are (B, K, Y, X). Everything that is trained stays where it is.
"""
from typing import NamedTuple

import torch

from ...ops import draw_gaussian_heatmap, gaussian_radius
from .mmdet3d_bev import bev_parts, bev_range, task_classes


class Targets(NamedTuple):
    """What a CenterHead learns in a batch; lists have one item for each task.

    Attributes:
        heatmaps: (B, K, Y, X) in [0, 1], one Gaussian for each box.
        boxes: (B, M, 10) x and y in the cell, z of the center in metres, the sizes (logarithms
            with norm_bbox), sine and cosine of the yaw, velocity. M is max_objs.
        indices: (B, M) y * X + x of the cell of each box.
        masks: (B, M) uint8, which of the M are boxes.
    """
    heatmaps: list
    boxes: list
    indices: list
    masks: list


def center_head(model):
    """The CenterHeadView of a detector.

    Raises:
        ValueError: It has no CenterHead.
    """
    head = getattr(model, bev_parts(model).get('head', ''), None)
    if task_classes(model) is None or not hasattr(head, 'get_targets'):
        has = 'no head on a map seen from above' if head is None else type(head).__name__
        raise ValueError(f'{type(model).__name__} has {has}, but what is asked for (heatmaps of '
                         'the boxes, targets by task) is known of a CenterHead alone')
    return CenterHeadView(head, task_classes(model), bev_range(model))


class CenterHeadView:
    """A view of a head: no submodule of whoever holds it. A pickle has no head.

    Attributes:
        tasks: Names of the classes of each task.
        range: (x_min, y_min, x_max, y_max) of its maps, metres.
    """

    def __init__(self, head=None, tasks=(), metres=None, data_samples=None):
        self._module, self.tasks, self.range = head, tasks, metres
        self._samples, self._targets = data_samples, None

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return CenterHeadView, ()

    def bind(self, data_samples):
        """The same head with a batch whose targets it tells."""
        return CenterHeadView(self._module, self.tasks, self.range, data_samples)

    @property
    def settings(self):
        """train_cfg.

        Raises:
            ValueError: There is none.
        """
        if not getattr(self._module, 'train_cfg', None):
            raise ValueError('the head has no train_cfg (grid_size, point_cloud_range, ...), '
                             'which says what it learns: its config needs train_cfg=dict(pts=...)')
        return self._module.train_cfg

    @property
    def grid_size(self):
        """(X, Y) cells of its maps."""
        cfg = self.settings
        return tuple(int(count) // cfg['out_size_factor'] for count in cfg['grid_size'][:2])

    @torch.no_grad()
    def targets(self):
        """The :class:`Targets` of the batch, by mmdet3d's own ``get_targets``."""
        if self._targets is None:
            self._targets = Targets(*self._module.get_targets(
                [sample.gt_instances_3d for sample in self._samples]))
        return self._targets

    @torch.no_grad()
    def heatmaps(self):
        """The heatmaps of the targets alone, (B, K, Y, X) for each task, drawn all at once."""
        if self._targets is not None:
            return self._targets.heatmaps
        truth = [sample.gt_instances_3d for sample in self._samples]
        cfg = self.settings
        if max(len(one) for one in truth) > cfg['max_objs'] * cfg['dense_reg']:
            return self.targets().heatmaps  # which leaves out what is too much, task by task
        boxes = torch.cat([one.bboxes_3d.tensor[:, :5] for one in truth])
        labels = torch.cat([one.labels_3d for one in truth]).long()
        boxes = boxes.to(labels.device)
        batch = torch.cat([torch.full((len(one),), i, device=labels.device)
                           for i, one in enumerate(truth)])
        factor = cfg['out_size_factor']
        voxel, low = (boxes.new_tensor(cfg[key][:2]) for key in ('voxel_size',
                                                                 'point_cloud_range'))
        radii = gaussian_radius(boxes[:, 3:5] / voxel / factor, cfg['gaussian_overlap'])
        count = sum(map(len, self.tasks))
        known = (labels >= 0) & (labels < count)
        drawn = draw_gaussian_heatmap(
            (boxes[:, :2] - low) / voxel / factor, radii.trunc().clamp(min=cfg['min_radius']),
            torch.where(known, labels, -1), count, self.grid_size, batch, len(truth))
        return list(drawn.split([len(task) for task in self.tasks], 1))
