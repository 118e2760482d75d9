"""What the models' maps seen from above hold, beside each other."""
import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from ..models.libraries import library_of
from ..models.recorder import Recorder
from ..models.same_tensor import exists, read_or_none
from .boxes3d import draw_from_above, true_boxes
from .predictions import build_model, load_model, some_items
from .scenes import SceneDrawing, is_scene, range_of
from .sheets import sheet, write_picture

SIZE = 360  # pixels of a map, along y


def draw_features(path, cfg, models, split='val', pictures=4, tap='bev'):
    """Write a picture: one row per input, the scene from above, then each model's map.

    Drawn is the length of each cell's feature vector, dark for the 1st and bright for the 99th
    percentile of the map, with the annotated boxes on it; x to the right, y upwards, all maps in
    the metres of the config's ``point_cloud_range``.

    Args:
        path (str): PNG to write.
        cfg (Config): Whose ``<split>_dataloader`` is used.
        models (dict): column title -> (Config of a plain model, checkpoint).
        split (str): 'val' or 'test'.
        pictures (int): Number of rows.
        tap (str): A semantic name that stands for a map (B, C, Y, X) seen from above.

    Returns:
        str | None: ``path``; None if there is no model, or the first has no such map.

    Raises:
        OSError: it could not be written.
    """
    if not models or not _has(build_model(next(iter(models.values()))[0]), tap):
        return None
    _, items = some_items(cfg, split, pictures)
    if not is_scene(items[0]):
        return None
    area, draw = range_of(cfg), SceneDrawing(cfg)
    columns = {'from above': [_from_above(item, area, (0, 158, 115)) for item in items]}
    for title, (model_cfg, checkpoint) in models.items():
        model = load_model(model_cfg, checkpoint)
        if _has(model, tap) and not draw.lacks(model, items[0]):
            columns[f'{title}: {tap}'] = [
                _from_above(item, area, (255, 255, 255), energy_picture(*_read(model, item, tap),
                                                                        area)) for item in items]
    return write_picture(path, sheet(columns, SIZE))


def _has(model, name):
    return name in library_of(model).tap_names(model)


@torch.no_grad()
def _read(model, item, name):
    """((C, Y, X) of the item, (x_min, y_min, x_max, y_max) that it covers)."""
    library = library_of(model)
    data = model.data_preprocessor(pseudo_collate([item]), False)
    taps = [tap for tap in library.tap_names(model)[name]
            if all(exists(model, source.path) for source in tap.sources)]
    with Recorder(model, {source for tap in taps for source in tap.sources}) as recorder:
        library.forward(model, data['inputs'], data['data_samples'])
    tap, value = next((tap, value) for tap in taps
                      if (value := read_or_none(tap, recorder.calls)) is not None)
    return value[0], library.layout(model, name, tap).range


def energy_picture(x, metres, area):
    """(H, W, 3) RGB of a map (C, Y, X) that covers ``metres``, as far as it is in ``area``.

    Args:
        metres: (x_min, y_min, x_max, y_max); None: those of ``area``.
        area: (x_min, y_min, z_min, x_max, y_max, z_max) of the picture, which is SIZE high.
    """
    energy = x.float().norm(dim=0).numpy()
    low, high = np.percentile(energy, (1, 99))
    level = np.clip((energy - low) / max(high - low, 1e-12), 0, 1) * 255
    painted = cv2.applyColorMap(level.astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    x_min, y_min, _, x_max, y_max, _ = area
    left, bottom, right, top = metres or (x_min, y_min, x_max, y_max)
    scale = SIZE / (y_max - y_min)
    # Cell [i, j] -> pixels: middles of cells to where they lie, y upwards.
    across, along = (right - left) / x.shape[2], (top - bottom) / x.shape[1]
    matrix = np.array([[across * scale, 0, (left + across / 2 - x_min) * scale - .5],
                       [0, -along * scale, (y_max - bottom - along / 2) * scale - .5]])
    return cv2.warpAffine(np.ascontiguousarray(painted), matrix,
                          (max(round((x_max - x_min) * scale), 1), SIZE), flags=cv2.INTER_NEAREST)


def _from_above(item, area, colour, ground=None):
    boxes = true_boxes(item['data_samples'])
    groups = [] if boxes is None else [('', boxes.corners.numpy(), colour)]
    points = item['inputs'].get('points') if ground is None else None
    return draw_from_above(groups, area, points, SIZE, ground)
