"""BEVDet's lift and splat: index, ranks and intervals, pooled BEV and gradients.

Two official forms are recorded, which differ in the rounding of the lower bound: v1 (``bev`` and
the gradients of loss = sum(bev * out_weight)) takes it from the center of the first cell, v2
(ranks, intervals, ``bev_v2_reference``) from the configuration.

The geometry is that of mmkd's view transformer, in float64. A point that lies on the border of a
cell falls to the side that the last bit says, so the index is built from the recorded geometry,
and from the one computed here where none is recorded.
"""
import math

import numpy as np
import torch

from mmkd.models.bev.geometry import CameraMatrices
from mmkd.ops import bev_pool, bev_pool_index
from tests.golden.case import Outcome, gradient
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

RANKS = ('ranks_bev', 'ranks_depth', 'ranks_feat')
INTERVALS = ('interval_starts', 'interval_lengths')
ARRAYS = BareArrays(
    given={'rots': 'float B N 3 3', 'trans': 'float B N 3', 'frustum': 'float D H W 3',
           'intrins': 'float B N 3 3', 'post_rots': 'float B N 3 3', 'post_trans': 'float B N 3',
           'depth_logits': 'float B*N D H W', 'img_feat': 'float B*N C H W',
           'out_weight': 'float B S Y X'},
    expected={'geometry': 'float? B N D H W 3', 'bev': 'float B S Y X',
              'bev_v2_reference': 'float? B S Y X', **dict.fromkeys(RANKS, 'int? K'),
              **dict.fromkeys(INTERVALS, 'int? M')},
    gradients=('depth_logits', 'img_feat'))


def run(case):
    args = case.arguments(grid_config=None, input_size=None, downsample=16)
    size, low, high = bounds(case, args['grid_config'])
    check_frustum(case, args)
    cells = ((high - low) / size).astype(np.float32).astype(int).tolist()
    size, low, center = (x.astype(np.float32) for x in (size, low, low + size / 2))
    geometry = ego_points(case)
    recorded = case.expected.get('out__geometry')
    points = geometry if recorded is None else torch.from_numpy(recorded)
    v1, v2 = (bev_pool_index(points, size.tolist(), [*start, *(start + size * cells)])
              for start in (center - size / 2, low))
    depth = case.input('depth_logits').softmax(1)
    bev = pool(case, depth, v1)
    loss = (bev * case.input('out_weight')).sum()
    outputs = {name: getattr(v2, name) for name in (*RANKS, *INTERVALS)}
    sort_within_cells(case)
    outputs |= {'geometry': geometry, 'bev': bev, 'bev_v2_reference': pool(case, depth, v2)}
    # v1 subtracts running sums over all cells; a softmax subtracts the mean of what its bins get,
    # which leaves nothing where all bins of a pixel fall into one cell
    terms = {'out__bev': bev.sum((0, 2, 3)),
             'grad__loss__depth_logits': depth * gradient(loss, depth)}
    return Outcome({'loss': loss}, outputs, terms=terms)


def bounds(case, grid):
    """Size, lower and upper bound of the cells in x, y, z."""
    try:
        low, high, size = np.array([grid[f'{axis}bound'] for axis in 'xyz'], dtype=float).T
    except (KeyError, TypeError, ValueError) as error:
        raise CaseError(f'{case.name}: grid_config must hold xbound, ybound and zbound, each '
                        f'[low, high, step], not {grid}') from error
    return size, low, high


def check_frustum(case, args):
    """Refuses a frustum that is not the one of the arguments."""
    depth, height, width, _ = case.input('frustum').shape
    if 'dbound' in args['grid_config']:
        low, high, step = args['grid_config']['dbound']
        if depth != math.ceil(round((high - low) / step, 6)):
            raise CaseError(f'{case.name}: {depth} depth bins are not those of dbound')
    if args['input_size'] and [height, width] != [s // args['downsample']
                                                  for s in args['input_size']]:
        raise CaseError(f'{case.name}: a frustum of {height} x {width} is not that of input_size')


def ego_points(case):
    """(B, N, D, H, W, 3) ego x, y, z of each point (u, v, depth) of the frustum."""
    frustum, rots, trans, intrins, post_rots, post_trans = (
        case.input(name).detach().double()
        for name in ('frustum', 'rots', 'trans', 'intrins', 'post_rots', 'post_trans'))
    mixed = post_rots - torch.eye(3).double()
    if mixed[..., 2, :].any() or mixed[..., :2, 2].any() or post_trans[..., 2].any():
        raise CaseError(f'{case.name}: post_rots and post_trans must move pixels alone')
    cameras = CameraMatrices(
        four_by_four(intrins), four_by_four(rots, trans).inverse(),
        four_by_four(post_rots, post_trans), torch.eye(4).double().expand(len(rots), 4, 4))
    return cameras.points(frustum[..., :2], frustum[..., 2])


def four_by_four(linear, shift=None):
    """(..., 4, 4) of (..., 3, 3) and (..., 3)."""
    matrix = torch.eye(4, dtype=linear.dtype).repeat(*linear.shape[:-2], 1, 1)
    matrix[..., :3, :3] = linear
    if shift is not None:
        matrix[..., :3, 3] = shift
    return matrix


def pool(case, depth, index):
    """(B, Z * C, Y, X): the cells above each other are stacked as channels."""
    b, n, d, h, w = index.cells.shape
    features = case.input('img_feat')
    features = features.permute(0, 2, 3, 1).reshape(b, n, h, w, features.shape[1])
    return torch.cat(bev_pool(depth.view(b, n, d, h, w), features, index).unbind(2), 1)


def sort_within_cells(case):
    """Brings the recorded ranks, whose order within a cell is free, into the order of mmkd's."""
    names = ['out__' + name for name in RANKS]
    ranks = [case.expected[name] for name in names if name in case.expected]
    if len(ranks) not in (0, len(RANKS)):
        raise CaseError(f'{case.name}: of {", ".join(RANKS)} only some are recorded')
    if ranks:
        bev, depth, features = ranks
        order = np.lexsort((depth, bev))
        case.expected |= dict(zip(names, (bev, depth[order], features[order]), strict=True))
