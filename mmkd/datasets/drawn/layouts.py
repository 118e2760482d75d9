"""Writes drawn scenes to disk in the layouts of Cityscapes and Pascal VOC 2012.

The trees are read by mmseg's own ``CityscapesDataset`` and ``PascalVOCDataset`` with their base
configs; only ``data_root`` changes.
"""
from pathlib import Path

import numpy as np
from PIL import Image

from .objects.scenes import CLASSES, draw_object_scene
from .streets.scenes import draw_street_scene
from .trees import FILES, claim, pictures, scene_rng, tree_facts, write, write_note

CITIES = dict(train='drawburg', val='sketchford')
YEARS = dict(train=2008, val=2009, aug=2010)
#: Cityscapes' full label ids, by train id; what is ignored becomes id 1 (ego vehicle)
LABEL_IDS = np.full(256, 1, np.uint8)
LABEL_IDS[:19] = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def voc_palette():
    """Pascal VOC's colour of every label, uint8 (256, 3) RGB: its bits, spread over channels."""
    label = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            on = (label >> (3 * bit + channel)) & 1
            palette[:, channel] |= (on << (7 - bit)).astype(np.uint8)
    return palette


def write_cityscapes(root, train=400, val=100, width=256, height=128, seed=0, progress=True):
    """Street scenes as Cityscapes stores them.

    Args:
        root (str): the tree's root, ``data_root`` of the dataset.
        train (int): pictures to train on.
        val (int): pictures to validate on.
        width (int): picture width.
        height (int): picture height.
        seed (int): source of every choice.
        progress (bool): show a progress bar.

    Returns:
        str: ``data_root`` for mmseg's config.

    Raises:
        ValueError: on sizes or counts that make no sense, or if the folder holds other files.
    """
    root = Path(root)
    counts = dict(train=train, val=val)
    facts = tree_facts('cityscapes', counts, width, height, seed)
    if not claim(root, facts):
        return str(root)
    for split, index in pictures(facts, root, progress):
        image, labels = draw_street_scene(scene_rng(seed, split, index), width, height)
        picture, train_ids, label_ids = (root / name
                                         for name in _cityscapes_files(split, index))
        write(picture, image)
        write(train_ids, labels)
        write(label_ids, LABEL_IDS[labels])
    write_note(root, facts, finished=True)
    return str(root)


def write_voc(root, train=400, val=100, aug=None, width=128, height=128, seed=0, progress=True):
    """Object scenes as Pascal VOC 2012 stores them, with the usual extra ``aug`` set.

    Args:
        root (str): folder that gets ``VOCdevkit/VOC2012``.
        train (int): pictures in train.txt.
        val (int): pictures in val.txt.
        aug (int): pictures in aug.txt; as many as ``train`` if None.
        width (int): picture width.
        height (int): picture height.
        seed (int): source of every choice.
        progress (bool): show a progress bar.

    Returns:
        str: ``data_root`` for mmseg's config.

    Raises:
        ValueError: on sizes or counts that make no sense, or if the folder holds other files.
    """
    root = Path(root) / 'VOCdevkit' / 'VOC2012'
    counts = dict(train=train, val=val, aug=train if aug is None else aug)
    facts = tree_facts('voc', counts, width, height, seed)
    if not claim(root, facts):
        return str(root)
    palette = voc_palette().ravel().tolist()
    for split, index in pictures(facts, root, progress):
        first = CLASSES[1 + index % (len(CLASSES) - 1)]  # all classes equally often
        image, labels = draw_object_scene(scene_rng(seed, split, index), width, height, first)
        picture, *maps = (root / name for name in _voc_files(split, index))
        write(picture, image)
        for path in maps:
            path.parent.mkdir(parents=True, exist_ok=True)
            indexed = Image.fromarray(labels, mode='P')
            indexed.putpalette(palette)
            indexed.save(path)
    names = {split: [f'{YEARS[split]}_{i:06d}\n' for i in range(counts[split])]
             for split in counts}
    names['trainval'] = names['train'] + names['val']
    for split, lines in names.items():
        path = root / 'ImageSets' / 'Segmentation' / f'{split}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(lines))
    write_note(root, facts, finished=True)
    return str(root)


def _cityscapes_files(split, index):
    city = CITIES[split]
    stem = f'{split}/{city}/{city}_{index:06d}_000019'
    return [f'leftImg8bit/{stem}_leftImg8bit.png', f'gtFine/{stem}_gtFine_labelTrainIds.png',
            f'gtFine/{stem}_gtFine_labelIds.png']


def _voc_files(split, index):
    stem = f'{YEARS[split]}_{index:06d}'
    folders = ['SegmentationClassAug'] + ['SegmentationClass'] * (split != 'aug')
    return [f'JPEGImages/{stem}.jpg'] + [f'{folder}/{stem}.png' for folder in folders]


def _all_cityscapes_files(facts):
    return {path for split, count in facts['counts'].items() for index in range(count)
            for path in _cityscapes_files(split, index)}


def _all_voc_files(facts):
    lists = {f'ImageSets/Segmentation/{split}.txt' for split in (*facts['counts'], 'trainval')}
    return lists | {path for split, count in facts['counts'].items() for index in range(count)
                    for path in _voc_files(split, index)}


FILES.update(cityscapes=_all_cityscapes_files, voc=_all_voc_files)
