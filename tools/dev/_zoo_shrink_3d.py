"""Detectors of mmdet3d with larger voxels and fewer points: the same metres, less to compute."""

#: cells in x and y that are merged at most, and points of which one is left
_CELLS, _POINTS = 4, 16
#: key of a grid -> where x and y are in it, and by what they must be divisible afterwards (the
#: strides of what works on it)
_GRIDS = dict(output_shape=(slice(0, 2), 8), sparse_shape=(slice(1, 3), 16),
              grid_size=(slice(0, 2), 1), n_voxels=(slice(0, 2), 4))
#: keys of numbers of points that are chosen
_CHOSEN = ('num_points', 'num_point', 'num_proposal', 'num_candidates')


def coarsen(model):
    """Merge cells, as many as all grids of the model dict allow, and choose fewer points."""
    grids = [(value[where], divisor) for key, value, _ in list(_lists(model)) if key in _GRIDS
             for where, divisor in [_GRIDS[key]]]
    cells = next((n for n in (_CELLS, 2) if all(
        count % (n * divisor) == 0 for counts, divisor in grids for count in counts)), 1)
    for key, value, node in list(_lists(model)):
        if key in _GRIDS:
            where, _ = _GRIDS[key]
            value = list(value)
            value[where] = [count // cells for count in value[where]]
            node[key] = value
        elif key == 'voxel_size':
            node[key] = [length * cells for length in value[:2]] + list(value[2:])
    for key, value, node in list(_items(model)):
        if key in _CHOSEN:
            node[key] = _fewer(value)


def _fewer(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(_fewer, value))
    return max(value // _POINTS, 8) if type(value) is int and value > 0 else value


def _items(node):
    """(key, value, the dict that holds it) of all dicts in ``node``."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value, node
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            yield from _items(value)


def _lists(node):
    return (item for item in _items(node) if isinstance(item[1], (list, tuple)))


__all__ = ['coarsen']
