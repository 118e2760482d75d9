"""Camera detectors in bird's eye view (``mmkd.BEVDet``, ``mmkd.BEVDet4D``) for mmdeploy.

The exported graph has tensors as inputs and no inverse inside, so that it serves any cameras:

- ``imgs`` (1, N, 3, H, W) float32: the network's images, normalised as by the data preprocessor;
- ``img2lidar`` (1, N, 3, 4) float32: from (u * z, v * z, z, 1), u, v a pixel (column, row; whole
  numbers at the middle of a pixel) of such an image and z its depth along the camera's axis in
  metres, to x, y, z in metres in the LiDAR frame in which the boxes are. With numpy, in float64::

      image = np.eye(4); image[:2, :2], image[:2, 2] = zoom, shift  # of the pixels
      intrinsics = np.eye(4); intrinsics[:3, :3] = cam2img
      img2lidar = np.linalg.inv(image @ intrinsics @ lidar2cam)[:3].astype(np.float32)

- ``camera_numbers`` (1, N, 27) float32, only of a model with ``mmkd.DepthNet``:
  :func:`mmkd.models.bev.depth.describe_cameras`.

BEVDet4D takes N cameras of this frame, then the same of the previous one, whose ``lidar2cam`` goes
from this frame's LiDAR to the camera at its earlier time.

Outputs, each (1, channels, Y, X), the head's tasks one after the other: ``heatmap`` (logits, one
for each class), ``reg`` (2), ``height`` (1), ``dim`` (3), ``rot`` (2: sine, cosine) and, if the
head has it, ``vel`` (2). :class:`~mmkd.deploy.camera_bev_task.BEVDetectionModel` decodes them as
mmdet3d does.
"""
from typing import NamedTuple

import torch
from mmdeploy.core import FUNCTION_REWRITER
from torch import Tensor

from ..models.bev.depth import describe_cameras
from ..models.bev.geometry import camera_matrices, frustum_points
from ..ops.bev_index import BEVPoolIndex
from ..ops.grid import find_cells, linear_cells, make_grid
from .onnx_zeros import zeros

#: outputs of a head's task, in the order of the graph's outputs
BRANCHES = ('heatmap', 'reg', 'height', 'dim', 'rot', 'vel')


class TensorCameras(NamedTuple):
    """What BEVDet asks of :class:`mmkd.models.bev.geometry.CameraMatrices`, from given tensors.

    Attributes:
        img2lidar: (B, N, 3, 4).
        numbers: (B, N, 27), or None where nobody asks for it.
    """
    img2lidar: Tensor
    numbers: Tensor | None

    @property
    def lidar2cam(self):
        """Something of shape (B, N, ...): only its shape is asked for."""
        return self.img2lidar

    def cameras(self, start, stop):
        """Those of the cameras ``start`` to ``stop``."""
        return TensorCameras(*(None if x is None else x[:, start:stop] for x in self))

    def points(self, pixels, depths):
        """(B, N, D, H, W, 3): see :func:`mmkd.models.bev.geometry.frustum_points`."""
        return frustum_points(self.img2lidar, pixels, depths)


def graph_inputs(images, metas, with_numbers):
    """Inputs of the graph: images, img2lidar and, ``with_numbers``, camera_numbers, float32."""
    cameras = camera_matrices(metas)
    inputs = [images, cameras.img2lidar()]
    if with_numbers:
        inputs.append(describe_cameras(cameras, images.shape[-2:]))
    return [x.float().to(images.device) for x in inputs]


@FUNCTION_REWRITER.register_rewriter('mmkd.models.bev.bevdet.BEVDet.forward')
def bevdet__forward(self, imgs, img2lidar, camera_numbers=None, data_samples=None, **kwargs):
    """Tensors -> tensors; see the module for what they are."""
    bev, _ = self.lift(imgs, TensorCameras(img2lidar, camera_numbers))
    features = self.img_bev_encoder_neck(self.img_bev_encoder_backbone(bev))
    tasks = [task[0] for task in self.pts_bbox_head(features)]
    return tuple(torch.cat([task[branch] for task in tasks], 1) for branch in BRANCHES
                 if branch in tasks[0])


@FUNCTION_REWRITER.register_rewriter('mmkd.models.bev.depth.describe_cameras')
def describe_cameras__given(cameras, image_size):
    """They are an input of the graph."""
    return cameras.numbers


@FUNCTION_REWRITER.register_rewriter('torch.Tensor.trunc')
def trunc__floor(self):
    """PyTorch has no ONNX of it."""
    return self.sign() * self.abs().floor()


@FUNCTION_REWRITER.register_rewriter('mmkd.ops.bev_index.bev_pool_index')
def bev_pool_index__cells(geometry, voxel_size, point_cloud_range, rounding='trunc'):
    """The points' cells alone, by operations that ONNX has; the same arithmetic."""
    grid = make_grid('bev_pool_index', voxel_size, point_cloud_range, geometry.shape[0])
    cell, inside = find_cells(geometry, grid.voxel_size, grid.low, grid.cells,
                              rounding == 'trunc')
    sample = torch.arange(geometry.shape[0]).view(-1, 1, 1, 1, 1)
    keys = torch.where(inside, linear_cells(cell, sample, grid.cells), -1)
    return BEVPoolIndex(keys, None, None, None, (geometry.shape[0], *reversed(grid.cells)))


@FUNCTION_REWRITER.register_rewriter('mmkd.ops.bev_pooling.bev_pool')
def bev_pool__sorted(depth, features, index):
    """The points sorted by cell, their sums so far in float64, and what each cell adds to them.

    Exact with any number of threads. ONNX's ScatterND with 'add' is faster and wrong with two
    threads (ONNX Runtime 1.31 adds rows of one cell at the same time); ScatterElements with 'add'
    is right and slower; index_put with accumulate=True becomes a graph that does not add at all.
    """
    b, z, y, x = (int(size) for size in index.bev_shape)  # traced sizes: constants of the graph
    bins, plane = int(depth.shape[2]), int(depth.shape[3] * depth.shape[4])
    channels = int(features.shape[-1])
    cells = index.cells.reshape(-1)
    points = (cells >= 0).nonzero()[:, 0]
    cells, order = cells[points].sort()
    points = points[order]
    pixels = torch.div(points, bins * plane, rounding_mode='floor') * plane + points % plane
    rows = depth.reshape(-1)[points][:, None] * features.reshape(-1, channels)[pixels]
    total = rows.double().cumsum(0)
    following = torch.cat([cells[1:], torch.full_like(cells[:1], -1)])
    last = (cells != following).nonzero()[:, 0]
    total = total[last]
    sums = total - torch.cat([torch.zeros_like(total[:1]), total[:-1]])
    out = zeros(rows, (b * z * y * x, channels)).index_put((cells[last],), sums.to(rows))
    return out.view(b, z, y, x, channels).permute(0, 4, 1, 2, 3)
