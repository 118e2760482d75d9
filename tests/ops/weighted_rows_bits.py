"""Saves what the loaded kernels give, for test_weighted_rows.py: python -m ... FILE."""
import sys

import torch

from mmkd.ops.bev_index import bev_pool_index
from mmkd.ops.bev_pooling import bev_pool, bev_pool_v2
from mmkd.ops.interpolation import interpolate
from mmkd.ops.reductions import gather_segments, segment_sum
from mmkd.ops.segments import csr_index


def results():
    """(name, tensor) of every operator that is a sum of weighted rows."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        for c in (1, 21, 80):
            ids = torch.randint(-1, 5, (3000,), generator=generator)
            ids[:1000] = torch.arange(5, 1005)
            index = ids, *csr_index(ids, 1010)
            rows = normal(3000, c).to(dtype)
            rows[::7] = -0.
            for mean in (False, True):
                sums = segment_sum(rows, *index, mean)
                yield f'segment_sum {dtype} {c} {mean}', sums
                yield f'gather {dtype} {c} {mean}', gather_segments(sums, *index, mean)
            features, weights = normal(20, c).to(dtype), normal(900, 4)
            weights = weights if dtype == torch.float64 else weights.float()
            inputs = features.requires_grad_(), weights.requires_grad_()
            indices = torch.randint(-1, 20, (900, 4), generator=generator)
            out = interpolate(inputs[0], indices, inputs[1])
            grads = torch.autograd.grad(out, inputs, normal(900, c).to(dtype))
            for name, value in zip(('', ' features', ' weights'), (out, *grads), strict=True):
                yield f'interpolate{name} {dtype} {c}', value.detach()
            geometry = torch.rand(1, 2, 40, 3, 7, 3, generator=generator) * 8 - 4
            pooled = bev_pool_index(geometry, (4., 4., 8.), (-4., -4., -4., 4., 4., 4.))
            depth = torch.rand(geometry.shape[:-1], generator=generator).to(dtype).requires_grad_()
            image = normal(1, 2, 3, 7, c).to(dtype).requires_grad_()
            ranks = pooled.ranks_depth, pooled.ranks_feat, pooled.ranks_bev, \
                (*pooled.bev_shape, c), pooled.interval_starts, pooled.interval_lengths
            for name, out in (('bev_pool', bev_pool(depth, image, pooled)),
                              ('bev_pool_v2', bev_pool_v2(depth, image, *ranks))):
                yield f'{name} {dtype} {c}', out.detach()
                for part, value in enumerate(torch.autograd.grad(
                        out, (depth, image), normal(*out.shape).to(dtype))):
                    yield f'{name} gradient {part} {dtype} {c}', value


if __name__ == '__main__':
    torch.save(dict(results()), sys.argv[1])
