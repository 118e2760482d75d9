"""The trees of knn and ball_query spare the work that grows with the product of their sizes."""
import os
import time

import pytest
import torch

from mmkd.ops import has_kernel
from mmkd.ops.neighbours import ball_query, knn

from .common import threads

pytestmark = pytest.mark.skipif(
    os.environ.get('MMKD_OPS', '') != '' or not has_kernel('knn', 'cpu'),
    reason="trees are the CPU kernels' alone")

#: They are 4 to 16 times faster than comparing all points; where they prune nothing, slower. Both
#: sides run in turn, in one process and as its CPU time: a slow or busy machine slows both.
LEAST = 2


def fastest(*functions, rounds=3):
    """The least CPU seconds of each, called in turn on one thread."""
    seconds = [[] for _ in functions]
    with threads(1):
        for _ in range(rounds):
            for function, mine in zip(functions, seconds, strict=True):
                start = time.process_time()
                function()
                mine.append(time.process_time() - start)
    return [min(mine) for mine in seconds]


def clouds(points, queries, shuffled):
    """A cloud that is dense in one place and thin elsewhere, and queries from it."""
    g = torch.Generator().manual_seed(0)
    cloud = torch.randn(1, points, 3, generator=g) ** 3
    if not shuffled:
        cloud = cloud[:, cloud[0, :, 0].argsort()]
    return cloud, cloud[:, ::points // queries].contiguous()


@pytest.mark.parametrize('shuffled', [False, True])
@pytest.mark.parametrize('k', [1, 16])
def test_knn(shuffled, k):
    points, query = clouds(65536, 2048, shuffled)
    wide = [torch.nn.functional.pad(t, (0, 1)) for t in (query, points)]  # four channels: no tree
    tree, all_pairs = fastest(lambda: knn(query, points, k), lambda: knn(*wide, k))
    assert tree * LEAST < all_pairs
    assert torch.equal(knn(query, points, k)[0], knn(*wide, k)[0])


@pytest.mark.parametrize('shuffled', [False, True])
def test_ball_query(shuffled):
    points, centers = clouds(65536, 4096, shuffled)
    parts = centers.split(512, 1)  # too few balls for trees
    tree, all_pairs = fastest(lambda: ball_query(0, .02, 8, points, centers),
                              lambda: [ball_query(0, .02, 8, points, part) for part in parts])
    assert tree * LEAST < all_pairs
