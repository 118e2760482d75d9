"""The view transformer against what other lift-splat code has: the volume, then index_add.

Part of ``benchmarks/bev_step.py``, which runs this file for the memory of one of the two.
"""
import copy
import json
import math
import statistics
import subprocess
import sys

import numpy as np
import torch
from common import peak_mib, seconds

from mmkd.models.bev import LSSViewTransformer
from mmkd.models.bev.geometry import camera_matrices

CAMERAS, STRIDE, IN_CHANNELS, CHANNELS = 6, 16, 256, 80
#: height and width of the features: those of images of 256 x 704
SIZE = 16, 44


class VolumeViewTransformer(LSSViewTransformer):
    """The same map by the formulation that LSS and its followers have in plain PyTorch.

    All products of depth and context are made as a volume (B * N, D, H, W, C), and its points are
    added up with index_add. Points outside go into a row that is cut off, which needs less memory
    than to leave them out by a mask, as the published code does.
    """

    def forward(self, features, cameras, image_size):
        b, n = cameras.lidar2cam.shape[:2]
        logits, context = self.depth_and_context(features, cameras, image_size)
        volume = self.depth_probability(logits)[..., None] * \
            context.permute(0, 2, 3, 1)[:, None]
        cells, count = self.cells(self.geometry(cameras, image_size, features))
        total = b * math.prod(count)
        bev = volume.new_zeros(total + 1, self.out_channels).index_add(
            0, cells, volume.flatten(0, -2))[:total]
        bev = bev.view(b, *reversed(count), self.out_channels).permute(0, 4, 1, 2, 3)
        return torch.cat(bev.unbind(2), 1), logits.unflatten(0, (b, n))

    def cells(self, geometry):
        """(P,) cell of each point, the last one outside, and the numbers of cells (X, Y, Z)."""
        low, high = geometry.new_tensor(self.point_cloud_range).split(3)
        size = geometry.new_tensor(self.voxel_size)
        count = [round(float(n)) for n in (high - low) / size]
        x, y, z = ((geometry - low) / size).floor().long().unbind(-1)
        inside = (x >= 0) & (x < count[0]) & (y >= 0) & (y < count[1]) & (z >= 0) & (z < count[2])
        sample = torch.arange(len(geometry), device=geometry.device).view(-1, 1, 1, 1, 1)
        cell = ((sample * count[2] + z) * count[1] + y) * count[0] + x
        return torch.where(inside, cell, len(geometry) * math.prod(count)).flatten(), count


def cameras_around(image_size):
    """Metainfo of six cameras that look around, of images (height, width)."""
    poses = []
    for i in range(CAMERAS):
        turn = math.pi / 2 + 2 * math.pi * i / CAMERAS
        ahead = np.array([math.cos(turn), math.sin(turn), 0.])
        pose = np.eye(4)
        pose[:3, :3] = [[ahead[1], -ahead[0], 0.], [0., 0., -1.], ahead]
        pose[:3, 3] = -pose[:3, :3] @ (.9 * ahead - [0., 0., .3])
        poses.append(pose)
    height, width = image_size
    focal = .8 * width
    matrix = np.array([[focal, 0., width / 2], [0., focal, .43 * height], [0., 0., 1.]])
    return dict(cam2img=[matrix] * CAMERAS, lidar2cam=poses,
                img_aug_matrix=[np.eye(4)] * CAMERAS, lidar_aug_matrix=np.eye(4),
                img_shape=image_size, ori_shape=image_size)


def view_transformers(device, size=SIZE):
    """ours and volume, with the same weights; and what both are given."""
    torch.manual_seed(0)
    settings = dict(
        in_channels=IN_CHANNELS, out_channels=CHANNELS, voxel_size=(.8, .8, 8.),
        point_cloud_range=(-51.2, -51.2, -5., 51.2, 51.2, 3.), depth_bins=(1., 60., 1.),
        stride=STRIDE)
    ours, volume = LSSViewTransformer(**settings), VolumeViewTransformer(**settings)
    volume.load_state_dict(ours.state_dict())
    features = torch.randn(CAMERAS, IN_CHANNELS, *size).to(device).requires_grad_()
    image = tuple(STRIDE * length for length in size)
    return (dict(ours=ours.to(device), volume=volume.to(device)),
            (features, camera_matrices([cameras_around(image)]), image))


def forward_backward(model, given):
    """The map, after its backward with a gradient of ones and minus ones."""
    features = given[0]
    features.grad = None
    model.zero_grad()
    bev, _ = model(*given)
    pattern = torch.arange(bev.numel(), device=bev.device).view_as(bev)
    bev.backward((pattern % 2 * 2 - 1).to(bev))
    return bev


def differences(device, size=SIZE, dtype=torch.float64):
    """Relative difference (L2) of the maps and of every gradient.

    Raises:
        AssertionError: they are not those of the same function.
    """
    models, (features, *given) = view_transformers(device, size)
    found = {}
    for name, model in models.items():
        model = copy.deepcopy(model).to(dtype)
        x = features.detach().to(dtype).requires_grad_()
        bev = forward_backward(model, (x, *given))
        found[name] = dict(map=bev.detach(), features=x.grad, **{
            key: value.grad for key, value in model.named_parameters()})
    apart = {key: float((value - found['volume'][key]).norm() / found['volume'][key].norm())
             for key, value in found['ours'].items()}
    bound = 100 * torch.finfo(dtype).eps
    assert all(value <= bound for value in apart.values()), \
        f'the two formulations differ by {apart}, more than {bound:.0e}'
    return apart


def peak_of(which, device):
    """Peak MiB of one forward and backward of ours or the volume, in this process."""
    models, given = view_transformers(device)
    small, small_given = view_transformers(device, (1, 1))
    forward_backward(small[which], small_given)  # loads libraries and kernels
    return peak_mib(lambda: forward_backward(models[which], given), device)


def peak_in_child(which, device):
    run = subprocess.run([sys.executable, __file__, json.dumps([which, device])], check=True,
                         capture_output=True, text=True)
    return float(run.stdout)


def measure(device, quick=False):
    """Time of both in turn, peak memory of both in fresh processes, and how far they differ."""
    size = (2, 4) if quick else SIZE
    models, given = view_transformers(device, size)
    times = [{name: seconds(lambda model=model: forward_backward(model, given), device)
              for name, model in models.items()} for _ in range(2 if quick else 16)][1:]
    memory = {} if quick else {
        name: statistics.median(peak_in_child(name, device) for _ in range(3)) for name in models}
    return dict(
        size=[CAMERAS, round(models['ours'].bins), *size, CHANNELS],
        difference=max(differences(device, size).values()),
        difference_float32=max(differences(device, size, torch.float32).values()),
        ms={name: 1000 * statistics.median(t[name] for t in times) for name in models},
        time=statistics.median(t['ours'] / t['volume'] for t in times), rounds=len(times),
        mib=memory, memory=memory and memory['ours'] / memory['volume'])


if __name__ == '__main__':
    torch.set_num_threads(1)
    print(peak_of(*json.loads(sys.argv[1])))
