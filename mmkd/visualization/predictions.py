"""Several models' predictions side by side, drawn by the config's own visualizer."""
import inspect
import os
import tempfile

import cv2
import mmcv
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.fileio import get
from mmengine.registry import DATASETS, MODELS, VISUALIZERS, DefaultScope, init_default_scope

from ..utils.checkpoint import load_checkpoint_file
from ..utils.weights import as_held_by, students_weights
from .scenes import SceneDrawing, is_scene
from .sheets import WIDTH, sheet, write_picture


def draw_predictions(path, cfg, models, split='val', pictures=4):
    """Write a picture: one row per input, one column per thing compared.

    Columns: input, ground truth, then each model's prediction. Any library whose data set gives
    pictures and whose visualizer has ``add_datasample`` can be drawn; boxes in the LiDAR frame are
    drawn into the images of all cameras and into the map seen from above.

    Args:
        path (str): PNG to write.
        cfg (Config): Whose ``<split>_dataloader`` and ``visualizer`` are used.
        models (dict): column title -> (Config of a plain model, checkpoint).
        split (str): 'val' or 'test'.
        pictures (int): Number of rows, spread evenly over the data set.

    Returns:
        str: ``path``.

    Raises:
        OSError: it could not be written.
    """
    dataset, items = some_items(cfg, split, pictures)
    draw = SceneDrawing(cfg) if is_scene(items[0]) else _Drawing(cfg, dataset.metainfo)
    columns = draw.given(items)
    for title, (model_cfg, checkpoint) in models.items():
        model = load_model(model_cfg, checkpoint)
        lacks = draw.lacks(model, items[0])
        if lacks:
            columns[f'{title}: reads {lacks}, not loaded'] = []
        else:
            columns[title] = [draw(item, predict(model, item)) for item in items]
    return write_picture(path, sheet(columns, draw.width))


def some_items(cfg, split, count):
    """(the data set of a split, a list of ``count`` of its items, spread evenly)."""
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    count = min(count, len(dataset))
    return dataset, [dataset[int(i)] for i in np.linspace(0, len(dataset) - 1, count)]


def build_model(cfg):
    """The model of a config."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        return MODELS.build(cfg.model)


def load_model(cfg, checkpoint):
    """The plain model of a config with its weights, ready to predict."""
    model = build_model(cfg)
    state = students_weights(load_checkpoint_file(checkpoint), checkpoint)
    model.load_state_dict(as_held_by(model, state))
    return model.eval()


@torch.no_grad()
def predict(model, item):
    """The data sample that a model predicts for one item of a data set."""
    return model.test_step(pseudo_collate([item]))[0].cpu()


def _image(item):
    """The picture (H, W, 3) of an item, RGB uint8: its file's, or else its input's."""
    path = item['data_samples'].metainfo.get('img_path')
    if isinstance(path, str) and os.path.isfile(path):
        return mmcv.imfrombytes(get(path), channel_order='rgb')
    inputs = item['inputs']
    inputs = inputs.get('img') if isinstance(inputs, dict) else inputs
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 3:
        raise ValueError('the data set gives no pictures to draw on')
    return np.ascontiguousarray(inputs.permute(1, 2, 0).byte().numpy()[..., ::-1])


class _Drawing:
    """The config's visualizer as a function of (item, data sample)."""

    width = WIDTH

    def __init__(self, cfg, metainfo):
        visualizer = dict(cfg.get('visualizer') or {})
        if 'type' not in visualizer:
            raise ValueError('the config has no visualizer to draw predictions with')
        # A name of its own: an existing visualizer of that name would be given back.
        visualizer.update(name=f'predictions_{id(self)}', vis_backends=None, save_dir=None)
        self.visualizer = VISUALIZERS.build(visualizer)
        self.visualizer.dataset_meta = metainfo
        known = inspect.signature(self.visualizer.add_datasample).parameters
        # Class names painted over a label map hide what is to be compared.
        self.options = {key: False for key in ('with_labels', 'withLabels') if key in known}

    def given(self, items):
        """{title: pictures} of what the data set has."""
        return {'input': [_image(item) for item in items],
                'ground truth': [self(item, item['data_samples'], truth=True) for item in items]}

    def lacks(self, model, item):
        """What the model reads and the item has not; here there is one input."""

    def __call__(self, item, sample, truth=False):
        image, instances = _image(item), sample.get('gt_instances')
        if hasattr(instances, 'bboxes') and not isinstance(instances.bboxes, torch.Tensor):
            sample = sample.clone()  # boxes of a class of mmdet's, which visualizers do not take
            sample.gt_instances.bboxes = instances.bboxes.tensor
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, 'drawn.png')
            self.visualizer.add_datasample(
                'drawn', image, data_sample=sample, draw_gt=truth, draw_pred=not truth,
                out_file=file, **self.options)
            if not os.path.isfile(file):
                raise ValueError(f'{type(self.visualizer).__name__} drew nothing')
            return cv2.imread(file)[..., ::-1]
