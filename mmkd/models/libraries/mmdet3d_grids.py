"""Do the parts of a detector of mmdet3d that know its grid agree?

Range, voxel size and numbers of cells stand in several places of a config. mmdet3d compares none of
them: features then come to lie where they do not belong, without a word.
"""
import contextlib

from ..mistakes import Mistakes
from .mmdet3d_bev import bev_parts, module_of

_PART = 1e-2  # of a cell by which a range may be no whole number of them
_NEAR = 1e-4  # metres


def check_grids(model, called):
    """Refuse a detector whose voxels, encoders and head lie on different grids.

    Args:
        model (nn.Module): The detector.
        called (str): How messages call it.

    Raises:
        ValueError: What does not fit, line by line.
    """
    mistakes = Mistakes()
    for text in grid_mistakes(model):
        mistakes.add(f'{called} ({type(model).__name__}): {text}')
    mistakes.raise_any()


def grid_mistakes(model):
    """What voxels, encoders and head say differently of the grid, a list of texts."""
    head = getattr(model, bev_parts(model).get('head', ''), None)
    return [*_of_voxels(model), *_of_head(head)]


def _of_voxels(model):
    """What the voxel layer, the voxel encoder and the middle encoder say differently."""
    layer = getattr(model.data_preprocessor, 'voxel_layer', None)
    area, size = (getattr(layer, key, None) for key in ('point_cloud_range', 'voxel_size'))
    rectangular = getattr(model.data_preprocessor, 'voxel_type', None) in ('hard', 'dynamic')
    if area is None or not size or not rectangular:
        return
    area, size = [float(n) for n in area], [float(n) for n in size]
    cells = [(area[i + 3] - area[i]) / size[i] for i in range(3)]
    told = f"the voxel layer's range {area} and voxel_size {size}"
    if any(abs(n - round(n)) > _PART for n in cells):
        yield (f"{told} make {' x '.join(f'{n:g}' for n in cells)} voxels (x, y, z), no whole "
               'numbers: what is at the upper borders would be lost or displaced')
        return
    x, y, z = (round(n) for n in cells)
    yield from _of_encoder(model, area, size, told)
    name, middle = module_of(model, 'pts_middle_encoder', 'middle_encoder')
    if hasattr(middle, 'nx') and (middle.ny, middle.nx) != (y, x):
        yield (f'{name}.output_shape is {(middle.ny, middle.nx)}, but {told} make {(y, x)} cells '
               f'(y, x): set output_shape={(y, x)}')
    shape = tuple(getattr(middle, 'sparse_shape', None) or ())
    if len(shape) == 3 and (shape[1:] != (y, x) or shape[0] < z):
        yield (f'{name}.sparse_shape is {shape}, but {told} make {(z, y, x)} voxels (z, y, x): set '
               f'sparse_shape={(z + 1, y, x)}, where one more in z is usual')


def _of_encoder(model, area, size, told):
    """A voxel encoder that tells the points' offset from their voxel's center must know it."""
    name, encoder = module_of(model, 'pts_voxel_encoder', 'voxel_encoder')
    dynamic = type(encoder).__name__.startswith('Dynamic')
    if not (dynamic or getattr(encoder, '_with_voxel_center', False)) or not hasattr(encoder, 'vx'):
        return
    mine, low = (encoder.vx, encoder.vy), encoder.point_cloud_range
    if any(abs(a - b) > _NEAR for a, b in zip(mine, size, strict=False)):
        yield f'{name}.voxel_size is {[encoder.vx, encoder.vy, encoder.vz]}, but not so {told}'
    ends = (0, 1, 3, 4) if dynamic else (0, 1)
    if any(abs(float(low[i]) - area[i]) > _NEAR for i in ends):
        yield f'{name}.point_cloud_range is {list(low)}, but not so {told}'


def _settings(head):
    """Name -> dict of those of a CenterHead's settings that say where its cells are."""
    coder = getattr(head, 'bbox_coder', None)
    keys = ('voxel_size', 'out_size_factor', 'grid_size', 'point_cloud_range')
    found = {name: {key: cfg[key] for key in keys if cfg.get(key) is not None}
             for name in ('train_cfg', 'test_cfg') if (cfg := getattr(head, name, None))}
    if coder is not None:
        found['bbox_coder'] = {key: value for key in keys[:2]
                               if (value := getattr(coder, key, None)) is not None}
    return found


def _cell(cfg):
    """Metres of a cell in x and y; None where it is not said."""
    if not {'voxel_size', 'out_size_factor'} <= cfg.keys():
        return None
    return [float(n) * cfg['out_size_factor'] for n in cfg['voxel_size'][:2]]


def _of_head(head):
    """What a CenterHead's train_cfg, test_cfg and coder say differently."""
    if not hasattr(head, 'task_heads'):
        return
    settings = _settings(head)
    cells = {name: cell for name, cfg in settings.items() if (cell := _cell(cfg)) is not None}
    first = next(iter(cells), None)
    for name, cell in cells.items():
        if any(abs(a - b) > _NEAR for a, b in zip(cell, cells[first], strict=True)):
            yield (f"the cells of the head's {first} are {_metres(cells[first])} (voxel_size times "
                   f'out_size_factor), those of its {name} {_metres(cell)}')
    train = settings.get('train_cfg', {})
    if {'grid_size', 'voxel_size', 'point_cloud_range'} <= train.keys():
        low = [float(n) for n in train['point_cloud_range']]
        size = [float(n) for n in train['voxel_size']]
        right = [(low[i + 3] - low[i]) / size[i] for i in range(2)]
        given = [int(n) for n in train['grid_size'][:2]]
        if any(abs(a - b) > _PART for a, b in zip(given, right, strict=True)):
            yield (f"the head's train_cfg has grid_size {given} (x, y), but its point_cloud_range "
                   f"{low} and voxel_size {size} make {' x '.join(f'{n:g}' for n in right)}")


def _metres(cell):
    return ' x '.join(f'{n:g}' for n in cell) + ' m'


@contextlib.contextmanager
def watch_maps(model):
    """While it lasts, a CenterHead whose map has other cells than its settings say is refused.

    Raises:
        ValueError: In the forward: which numbers of cells differ.
    """
    head = getattr(model, bev_parts(model).get('head', ''), None)
    if not hasattr(head, 'task_heads'):
        yield
        return
    handle = head.register_forward_pre_hook(_check_map)
    try:
        yield
    finally:
        handle.remove()


def _check_map(head, args):
    train = _settings(head).get('train_cfg', {})
    maps = args[0][0] if isinstance(args[0], (list, tuple)) else args[0]
    if _cell(train) is None or 'grid_size' not in train:
        return
    expected = tuple(int(n) // train['out_size_factor'] for n in train['grid_size'][:2])
    if tuple(maps.shape[:-3:-1]) != expected:
        raise ValueError(
            f'the head is given a map of {maps.shape[-1]} x {maps.shape[-2]} cells (x, y), but its '
            f"train_cfg says {expected[0]} x {expected[1]} (grid_size "
            f"{list(train['grid_size'][:2])} / out_size_factor {train['out_size_factor']}): the "
            'strides of backbone and neck, the voxel size and out_size_factor decide it')
