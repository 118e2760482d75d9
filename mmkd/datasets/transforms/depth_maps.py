"""What the LiDAR says of the depth of each image."""
import torch
from mmcv.transforms import BaseTransform

from ...models.bev.geometry import camera_matrices
from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class PointsToDepthMaps(BaseTransform):
    """``points`` -> ``gt_depth_maps`` (N, H / stride, W / stride), metres, 0 where there is none.

    The points are projected into each of this frame's N cameras under all augmentations so far;
    a cell of stride x stride pixels gets the smallest depth in it, as in BEVDepth. Put it after
    :class:`MultiViewImageAug` and :class:`BEVAug`, and before the points are filtered.

    Args:
        stride (int): The view transformer's.
        depth_range: (low, high) metres; low <= depth < high counts. The view transformer's first
            two depth_bins.
    """

    def __init__(self, stride=16, depth_range=(1., 60.)):
        self.stride, self.depth_range = stride, depth_range

    def transform(self, results):
        """Project.

        Raises:
            ValueError: there are no points, images or matrices, or the images' sizes are not a
                multiple of the stride.
        """
        if results.get('points') is None:
            raise ValueError('PointsToDepthMaps: there are no points; mmdet3d\'s '
                             'LoadPointsFromFile comes before')
        if 'img' not in results:
            raise ValueError('PointsToDepthMaps: there are no images; mmkd.LoadCameraImages comes '
                             'before')
        height, width = results['img'][0].shape[:2]
        if height % self.stride or width % self.stride:
            raise ValueError(f'PointsToDepthMaps: images of {height} x {width} have no cells of '
                             f'{self.stride} pixels')
        count = len(results['img']) // results.get('num_frames', 1)
        cameras = camera_matrices([{'lidar_aug_matrix': torch.eye(4).numpy(), **results}])
        points = results['points'].tensor[None, :, :3]
        pixels, depth = cameras.cameras(0, count).project(points)
        results['gt_depth_maps'] = nearest_depth(
            pixels[0], depth[0], (height, width), self.stride, self.depth_range)
        return results


def nearest_depth(pixels, depth, size, stride, depth_range):
    """Smallest depth in each cell of an image.

    Args:
        pixels: (N, P, 2) u, v.
        depth: (N, P) metres.
        size: (height, width) of the images, multiples of ``stride``.

    Returns:
        Tensor: (N, height / stride, width / stride) float32; 0 where there is none.
    """
    rows, columns = size[0] // stride, size[1] // stride
    pixel = torch.floor(pixels + .5)  # the one that (u, v) lies in
    u, v = pixel.unbind(-1)
    seen = (depth >= depth_range[0]) & (depth < depth_range[1]) & \
        (u >= 0) & (u < size[1]) & (v >= 0) & (v < size[0])
    maps = torch.full((len(depth), rows * columns), torch.inf)
    for i, inside in enumerate(seen):
        cell = v[i, inside].long() // stride * columns + u[i, inside].long() // stride
        maps[i].scatter_reduce_(0, cell, depth[i, inside].float(), 'amin')
    return torch.where(maps.isinf(), 0., maps).view(-1, rows, columns)
