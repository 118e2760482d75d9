"""TiG-BEV's depth within objects (Huang et al., 2022, arXiv:2212.13979)."""
import torch
from torch import nn

from mmkd.registry import MODELS

from ...bev.depth import number_of_bins
from ...bev.geometry import CameraMatrices, camera_matrices
from ..closed_form import zero_of
from ..full_precision import full_precision, wide
from .footprints import check_boxes

#: pairs of a point and a box that are looked at at once, on a CPU and on a GPU: bounds the memory
AT_ONCE = 2 ** 16, 2 ** 22


@MODELS.register_module()
class TiGBEVDepthLoss(nn.Module):
    """Squared error of the expected depth within an object, relative to one of its pixels.

    A pixel of the depth map belongs to the object in whose box the nearest LiDAR point lies, of
    those in it that lie in a box.
    Of each object in each image, the expected depth and the measured one are both taken relative to
    the pixel where they differ least (without gradient). The squared differences are summed and
    divided by the number of such pixels; without one the loss is 0.

    What teaches are the LiDAR's points: the teacher's tap is not looked at.

    Args:
        depth_bins: (start, stop, step) in metres, those of the view transformer; bin i stands for
            start + i * step.

    Sizes: points are put into the cells of the student's depth map.
    """

    chooses_places = True  # no object of a batch may be seen in more than a pixel

    def __init__(self, depth_bins=(1., 60., 1.)):
        super().__init__()
        self.bins, self.depth_bins = number_of_bins(depth_bins), tuple(depth_bins)

    def forward(self, student, teacher, points, boxes_3d, metas, inputs):
        """Compares the depth with the LiDAR's.

        Args:
            student: (B * N, D, H, W) probabilities of the depth bins.
            teacher: not looked at.
            points: of each sample (P, 3 or more) x, y, z in the augmented LiDAR frame.
            boxes_3d: of each sample (K, 7 or more), in the same frame.
            metas: of each sample, with the cameras' matrices.
            inputs: with ``imgs`` (B, N, 3, height, width).

        Returns:
            The scalar loss.

        Raises:
            ValueError: if the student's depth has other bins, or is not that of the images.
        """
        if student.dim() != 4 or student.shape[1] != self.bins:
            raise ValueError(
                f'TiGBEVDepthLoss: depth_bins={self.depth_bins} are {self.bins} bins, but the '
                f"student's map (B * N, D, H, W) has shape {tuple(student.shape)}: set depth_bins "
                "as in the view transformer's, and tap depth")
        batch = len(metas)
        if not batch or len(student) % batch:
            raise ValueError(f'TiGBEVDepthLoss: {len(student)} depth maps are not those of {batch} '
                             'samples')
        if not student.numel():
            return zero_of(student)
        check_boxes('TiGBEVDepthLoss', boxes_3d, batch)
        cameras = camera_matrices(metas).cameras(0, len(student) // batch)
        objects, depth = self.foreground(points, boxes_3d, cameras, inputs['imgs'].shape[-2:],
                                         student)
        return self.compare(student, objects, depth)

    def compare(self, probability, objects, depth):
        """The loss of a probability (B * N, D, H, W), of which pixel belongs to which ``objects``
        (B, N, H, W; int64, 0: to none), and of the measured ``depth`` (B, N, H, W), metres."""
        probability = wide(probability)
        objects, depth = objects.flatten(), depth.flatten().to(probability)
        start, _, step = self.depth_bins
        values = start + step * torch.arange(self.bins, device=depth.device).to(probability)
        with full_precision(probability):
            expected = (probability * values[:, None, None]).sum(1).flatten()
        pixels = probability.shape[2] * probability.shape[3]
        place = torch.arange(len(depth), device=depth.device)
        # A segment is an object in an image; no more objects can be seen than there are pixels.
        segment = place.div(pixels, rounding_mode='floor') * (pixels + 1) + self._ranked(
            objects.view(-1, pixels)).flatten()
        count = len(probability) * (pixels + 1)
        error = (expected.detach() - depth).abs()
        least = error.new_full((count,), torch.inf).scatter_reduce(0, segment, error, 'amin')
        best = torch.where(error == least[segment], place, len(depth) - 1)
        first = best.new_full((count,), len(depth) - 1).scatter_reduce(0, segment, best, 'amin')
        chosen = first[segment]
        seen = objects > 0
        relative = (expected - expected.detach()[chosen]) - (depth - depth[chosen])
        # Where nothing is measured a depth may be anything; it must not reach the sum.
        return torch.where(seen, relative, 0.).square().sum() / seen.sum().clamp(min=1)

    @staticmethod
    def _ranked(objects):
        """Numbers of objects (M, L), any whole numbers, as numbers from 0 to L in every row."""
        order = objects.sort(1)
        new = torch.cat([order.values[:, :1] > 0, order.values[:, 1:] > order.values[:, :-1]], 1)
        return torch.zeros_like(objects).scatter(1, order.indices, new.long().cumsum(1))

    @torch.no_grad()
    def foreground(self, points, boxes_3d, cameras, image_size, like):
        """Which object each pixel of the depth maps shows, and how far it is.

        Args:
            points, boxes_3d: of each sample, see :meth:`forward`.
            cameras (CameraMatrices): of B samples with N cameras.
            image_size: (height, width) of the images.
            like: (B * N, D, H, W).

        Returns:
            (B, N, H, W) int64, 0 where there is no object, k for the k-th box of the sample; and
            (B, N, H, W) metres, 0 where there is no object.
        """
        found = [self._of_sample(points[i], boxes_3d[i],
                                 CameraMatrices(*(part[i:i + 1] for part in cameras)),
                                 image_size, like) for i in range(len(points))]
        return tuple(torch.stack(part) for part in zip(*found, strict=True))

    def _of_sample(self, points, boxes, cameras, image_size, like):
        height, width = like.shape[2:]
        points = points[:, :3].to(like.device)
        owner = box_of_points(points, boxes.to(points))
        if not points.is_cuda:
            points, owner = of_boxes(points, owner)
        pixels, depth = cameras.project(points[None])
        pixels, depth = pixels[0], depth[0]
        count = len(depth) * height * width
        # Pixel centers are whole numbers: the image begins at -0.5.
        column = ((pixels[..., 0] + .5) * width / image_size[1]).floor()
        row = ((pixels[..., 1] + .5) * height / image_size[0]).floor()
        start, stop, _ = self.depth_bins
        seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        seen &= (depth >= start) & (depth < stop) & (owner > 0)
        image = torch.arange(len(depth), device=depth.device)[:, None] * (height * width)
        cell = torch.where(seen, image + row * width + column, count).long().flatten()
        depth = depth.flatten()
        nearest = depth.new_full((count + 1,), torch.inf).scatter_reduce(0, cell, depth, 'amin')
        mine = torch.where(depth == nearest[cell], owner.repeat(len(pixels)), 0)
        objects = mine.new_zeros(count + 1).scatter_reduce(0, cell, mine, 'amax')
        shape = (len(pixels), height, width)
        nearest = torch.where(nearest.isinf(), 0., nearest)
        return objects[:count].view(shape), nearest[:count].view(shape)

    def extra_repr(self):
        return f'depth_bins={self.depth_bins}'


def of_boxes(points, owner):
    """The points (P', 3) and owners (P',) that belong to a box. They are few; but how many they
    are, a GPU would have to be waited for."""
    return points[owner > 0], owner[owner > 0]


def box_of_points(points, boxes):
    """(P,) int64: for each of ``points`` (P, 3) 1 + the first of ``boxes`` (K, 7 or more) in which
    it lies, 0 where there is none; z of a box is its bottom."""
    if not len(boxes) or not len(points):
        return torch.zeros(len(points), dtype=torch.int64, device=points.device)
    # (K, 1) each, and points along the memory: fast, in pieces that a CPU keeps in its cache.
    number = torch.arange(len(boxes), 0, -1, dtype=torch.int32, device=points.device)[:, None]
    middle_x, middle_y, bottom, length, width, height = boxes[:, :6, None].unbind(1)
    cos, sin = boxes[:, 6:7].cos(), boxes[:, 6:7].sin()
    owner = []
    for some in points.T.contiguous().split(max(AT_ONCE[points.is_cuda] // len(boxes), 1), 1):
        x, y, z = some[0] - middle_x, some[1] - middle_y, some[2] - bottom
        inside = ((x * cos + y * sin).abs() <= length / 2) & (
            (y * cos - x * sin).abs() <= width / 2) & (z >= 0) & (z <= height)
        last = (inside * number).amax(0)
        owner.append(torch.where(last > 0, len(boxes) + 1 - last, 0))
    return torch.cat(owner).long()
