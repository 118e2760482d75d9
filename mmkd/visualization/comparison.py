"""A picture of several segmentors' predictions side by side."""
import glob
import os

import cv2
import numpy as np
from mmseg.apis import inference_model, init_model
from mmseg.datasets import CityscapesDataset

_IGNORED = (0, 0, 0)


def colourise(labels, palette):
    """Labels (H, W) -> BGR picture (H, W, 3); what is not in the palette is black."""
    colours = np.full((256, 3), _IGNORED, np.uint8)
    colours[:len(palette)] = np.array(palette, np.uint8)[:, ::-1]
    return colours[labels]


def draw_comparison(path, data_root, models, pictures=4, zoom=2):
    """Write a picture: one row per validation image, one column per thing compared.

    Columns: input, ground truth, then each model's prediction with its share of
    right pixels.

    Args:
        path (str): PNG to write.
        data_root (str): Tree in Cityscapes' layout.
        models (dict): column title -> (config, checkpoint), loaded by mmseg's
            own ``init_model``.
        pictures (int): Number of rows, spread evenly over the validation set.
        zoom (int): Enlargement.

    Returns:
        str: ``path``.
    """
    images = sorted(glob.glob(os.path.join(data_root, 'leftImg8bit/val/*/*_leftImg8bit.png')))
    if not images:
        raise FileNotFoundError(f'no validation images under {data_root}/leftImg8bit/val')
    images = [images[i] for i in np.linspace(0, len(images) - 1, pictures).astype(int)]
    loaded = {title: init_model(*files, device='cpu') for title, files in models.items()}
    palette = CityscapesDataset.METAINFO['palette']
    rows = []
    for image in images:
        truth = cv2.imread(image.replace('leftImg8bit', 'gtFine', 1).replace(
            '_leftImg8bit.png', '_gtFine_labelTrainIds.png'), cv2.IMREAD_UNCHANGED)
        cells = [_cell(cv2.imread(image), 'input', zoom),
                 _cell(colourise(truth, palette), 'ground truth', zoom)]
        for title, model in loaded.items():
            labels = inference_model(model, image).pred_sem_seg.data[0].numpy().astype(np.uint8)
            right = (labels == truth)[truth != 255].mean()
            cells.append(_cell(colourise(labels, palette), f'{title} ({right:.0%})', zoom))
        rows.append(np.hstack(cells))
    cv2.imwrite(path, np.vstack(rows))
    return path


def _cell(image, title, zoom):
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    bar = np.full((22, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, title, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    cell = np.vstack([bar, image])
    return cv2.copyMakeBorder(cell, 0, 4, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
