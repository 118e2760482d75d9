"""BEV pooling of BEVDet's common configuration: 6 cameras, 59 depths, 16 x 44 pixels, 80 channels.

``scale`` is the number of samples.
"""
import math

import torch

from mmkd.ops.bev_index import bev_pool_index
from mmkd.ops.bev_pooling import bev_pool

from . import Case

CAMERAS, BINS, HEIGHT, WIDTH, CHANNELS = 6, 59, 16, 44, 80
LOW, SIZE, CELLS = (-51.2, -51.2, -5.), (.8, .8, 8.), (128, 128, 1)
RANGE = (-51.2, -51.2, -5., 51.2, 51.2, 3.)


def surround_geometry(batch, device):
    """(B, N, D, H, W, 3) ego points of nuScenes-like cameras: all around, 70 degrees wide."""
    u = torch.linspace(0, 703, WIDTH)
    v = torch.linspace(0, 255, HEIGHT)
    depth = torch.arange(1., 1 + BINS)
    right = ((u - 352) / 560).view(1, 1, -1) * depth.view(-1, 1, 1)
    down = ((v - 110) / 560).view(1, -1, 1) * depth.view(-1, 1, 1)
    shape = BINS, HEIGHT, WIDTH
    right, down, ahead = (t.expand(shape) for t in (right, down, depth.view(-1, 1, 1)))
    samples = []
    for sample in range(batch):
        for camera in range(CAMERAS):
            yaw = math.radians(60 * camera + 2.7 * sample)
            samples.append(torch.stack([
                ahead * math.cos(yaw) + right * math.sin(yaw) + .9 * math.cos(yaw),
                ahead * math.sin(yaw) - right * math.cos(yaw) + .9 * math.sin(yaw),
                1.5 - down], -1))
    return torch.stack(samples).view(batch, CAMERAS, *shape, 3).to(device)


def prepare_like_bevdet(geometry):
    """What BEVDet does before bev_pool_v2: its ranks and intervals, in eager PyTorch."""
    b, n, d, h, w, _ = geometry.shape
    points = b * n * d * h * w
    low, size, count = (torch.tensor(v, device=geometry.device) for v in (LOW, SIZE, CELLS))
    ranks_depth = torch.arange(points, dtype=torch.int, device=geometry.device)
    ranks_feat = torch.arange(points // d, dtype=torch.int, device=geometry.device)
    ranks_feat = ranks_feat.reshape(b, n, 1, h, w).expand(b, n, d, h, w).flatten()
    cell = ((geometry - low) / size).long().view(points, 3)
    sample = torch.arange(b, device=geometry.device).view(b, 1).expand(b, points // b)
    cell = torch.cat([cell, sample.reshape(points, 1)], 1)
    kept = ((cell[:, :3] >= 0) & (cell[:, :3] < count)).all(1)
    cell, ranks_depth, ranks_feat = cell[kept], ranks_depth[kept], ranks_feat[kept]
    ranks_bev = cell[:, 3] * math.prod(CELLS) + cell[:, 2] * CELLS[0] * CELLS[1] \
        + cell[:, 1] * CELLS[0] + cell[:, 0]
    order = ranks_bev.argsort()
    ranks_bev, ranks_depth, ranks_feat = ranks_bev[order], ranks_depth[order], ranks_feat[order]
    first = torch.ones_like(kept[:len(ranks_bev)])
    first[1:] = ranks_bev[1:] != ranks_bev[:-1]
    starts = first.nonzero().flatten().int()
    lengths = torch.zeros_like(starts)
    lengths[:-1] = starts[1:] - starts[:-1]
    lengths[-1] = len(ranks_bev) - starts[-1]
    return ranks_depth, ranks_feat, ranks_bev.int(), starts, lengths


def pool_volume(depth, features, keys):
    """The usual formulation: the volume of depth x features, then index_add."""
    volume = (depth[..., None] * features[:, :, None]).flatten(0, 4)
    cells = depth.shape[0] * math.prod(CELLS)
    out = volume.new_zeros(cells + 1, CHANNELS).index_add_(0, keys, volume)[:cells]
    return out.view(-1, *reversed(CELLS), CHANNELS).permute(0, 4, 1, 2, 3)


class SparsePool:
    """The best of plain PyTorch: products with a sparse matrix of cells x pixels, whose pattern
    and whose transpose are made once for a geometry."""

    def __init__(self, index, pixels):
        used = int(index.starts[-1])
        self.points, self.columns = index.points[:used].long(), index.pixels[:used].long()
        self.starts = index.starts.long()
        self.cells = index.cells.flatten().long()[self.points]
        self.order = self.columns.argsort(stable=True)
        self.back_starts = torch.searchsorted(
            self.columns[self.order], torch.arange(pixels + 1, device=self.points.device))
        self.shape = len(self.starts) - 1, pixels

    def forward(self, depth, rows):
        matrix = torch.sparse_csr_tensor(self.starts, self.columns, depth.flatten()[self.points],
                                         self.shape, check_invariants=False)
        return torch.sparse.mm(matrix, rows)

    def backward(self, depth, rows, grad):
        order = self.order
        matrix = torch.sparse_csr_tensor(
            self.back_starts, self.cells[order], depth.flatten()[self.points][order],
            self.shape[::-1], check_invariants=False)
        to_depth = torch.zeros_like(depth).flatten()
        # In pieces that stay in the cache.
        for at in torch.arange(len(self.points), device=grad.device).split(2048):
            to_depth[self.points[at]] = (rows[self.columns[at]] * grad[self.cells[at]]).sum(1)
        return to_depth, torch.sparse.mm(matrix, grad)


def cases(device, scale):
    generator = torch.Generator().manual_seed(0)
    geometry = surround_geometry(scale, device)
    depth = torch.randn(geometry.shape[:-1], generator=generator).softmax(2).to(device)
    features = torch.randn(scale, CAMERAS, HEIGHT, WIDTH, CHANNELS, generator=generator).to(device)
    index = bev_pool_index(geometry, SIZE, RANGE)
    cells = scale * math.prod(CELLS)
    keys = torch.where(index.cells < 0, cells, index.cells).flatten().long()
    grad = torch.randn(scale, *reversed(CELLS), CHANNELS, generator=generator).to(device)
    grad = grad.permute(0, 4, 1, 2, 3)
    depth.requires_grad_()
    features.requires_grad_()
    ours = bev_pool(depth, features, index)
    inputs, values = (depth, features), depth.numel() + features.numel() + ours.numel()
    # The graph of the volume holds a gigabyte per 12 samples: built when it is first timed.
    graph = []

    def backward_of_volume():
        if not graph:
            graph.append(pool_volume(*inputs, keys))
        return torch.autograd.grad(graph[0], inputs, grad, retain_graph=True)

    size = f'{depth.numel():,} points, {CHANNELS} channels'
    usual, best = 'volume of depth x features, index_add', 'products with sparse matrices'
    rows, flat_grad = features.detach().flatten(0, 3), grad.permute(0, 2, 3, 4, 1).flatten(0, 3)
    sparse = SparsePool(index, len(rows))
    return [
        Case('bev_pool_index', size, lambda: bev_pool_index(geometry, SIZE, RANGE),
             lambda: prepare_like_bevdet(geometry), "BEVDet's preparation (eager)"),
        Case('bev_pool forward', size, lambda: bev_pool(depth.detach(), features.detach(), index),
             lambda: pool_volume(depth.detach(), features.detach(), keys), usual, .05,
             4 * (values + 2 * depth.numel())),
        Case('bev_pool backward', size,
             lambda: torch.autograd.grad(ours, inputs, grad, retain_graph=True),
             backward_of_volume, usual, .03, 4 * (values + 2 * depth.numel() + features.numel())),
        Case('bev_pool forward', size, lambda: bev_pool(depth.detach(), features.detach(), index),
             lambda: sparse.forward(depth.detach(), rows), best, None,
             4 * (values + 2 * depth.numel()), grows=False),
        Case('bev_pool backward', size,
             lambda: torch.autograd.grad(ours, inputs, grad, retain_graph=True),
             lambda: sparse.backward(depth.detach(), rows, flat_grad), best, None,
             4 * (values + 2 * depth.numel() + features.numel()), grows=False),
    ]
