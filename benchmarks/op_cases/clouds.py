"""LiDAR-like point clouds for the benchmarks."""
import math

import torch

NUSCENES_VOXEL = (0.075, 0.075, 0.2)
NUSCENES_RANGE = (-54., -54., -5., 54., 54., 3.)


def lidar_cloud(count, channels=5, seed=0, device='cpu'):
    """(count, channels) x, y, z in metres and random further channels: ten sweeps of a 32-beam
    scanner 1.8 m above a plane, with walls at random distances, in the order of the scan.
    """
    g = torch.Generator().manual_seed(seed)
    sectors = 3 + 50 * torch.rand(360, generator=g)  # where each degree of azimuth ends
    place = torch.arange(count)
    sweep = place * 10 // count
    azimuth = 2 * math.pi * (place * 10 % count) / count
    elevation = torch.deg2rad(-30 + 40 * (place % 32) / 31)
    ground = torch.where(elevation < 0, 1.8 / torch.tan(-elevation), torch.inf)
    distance = torch.minimum(ground, sectors[(azimuth * 180 / math.pi).long() % 360])
    distance = distance + 0.03 * torch.randn(count, generator=g)
    points = torch.rand(count, channels, generator=g)
    points[:, 0] = distance * torch.cos(azimuth) + 0.5 * (sweep - 5)  # 10 m/s, 20 sweeps a second
    points[:, 1] = distance * torch.sin(azimuth)
    points[:, 2] = distance * torch.tan(elevation)
    return points.to(device)
