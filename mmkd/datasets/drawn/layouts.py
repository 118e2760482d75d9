"""Writes drawn scenes to disk in the layouts of Cityscapes and Pascal VOC 2012.

The trees are read by mmseg's own ``CityscapesDataset`` and ``PascalVOCDataset`` with their base
configs; only ``data_root`` changes. Every picture depends on (seed, split, index) alone. A small
note inside the tree says what it holds, so that a finished tree is not drawn again, a half-written
one is, and a folder that holds anything else is never touched.
"""
import json
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from .camera import check_size
from .objects.scenes import CLASSES, draw_object_scene
from .streets.scenes import draw_street_scene

NOTE = 'drawn_scenes.json'
DRAWING = 1  # raise when the same seed gives other pictures
SPLITS = dict(train=0, val=1, aug=2)
CITIES = dict(train='drawburg', val='sketchford')
YEARS = dict(train=2008, val=2009, aug=2010)
#: Cityscapes' full label ids, by train id; what is ignored becomes id 1 (ego vehicle)
LABEL_IDS = np.full(256, 1, np.uint8)
LABEL_IDS[:19] = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def scene_rng(seed, split, index):
    """The random generator of one picture."""
    return np.random.default_rng([seed, SPLITS[split], index])


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
    facts = _facts('cityscapes', counts, width, height, seed)
    if not _claim(root, facts):
        return str(root)
    for split, index in _pictures(facts, root, progress):
        image, labels = draw_street_scene(scene_rng(seed, split, index), width, height)
        picture, train_ids, label_ids = (root / name
                                         for name in _cityscapes_files(split, index))
        _write(picture, image)
        _write(train_ids, labels)
        _write(label_ids, LABEL_IDS[labels])
    _note(root, facts, finished=True)
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
    facts = _facts('voc', counts, width, height, seed)
    if not _claim(root, facts):
        return str(root)
    palette = voc_palette().ravel().tolist()
    for split, index in _pictures(facts, root, progress):
        first = CLASSES[1 + index % (len(CLASSES) - 1)]  # all classes equally often
        image, labels = draw_object_scene(scene_rng(seed, split, index), width, height, first)
        picture, *maps = (root / name for name in _voc_files(split, index))
        _write(picture, image)
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
    _note(root, facts, finished=True)
    return str(root)


def _facts(layout, counts, width, height, seed):
    """The parameters that make the tree, checked."""
    check_size(width, height)
    for name, count in counts.items():
        if int(count) != count or count < 1:
            raise ValueError(f'{name}={count}: expected a whole number of pictures, at least 1')
    if int(seed) != seed or seed < 0:
        raise ValueError(f'seed={seed}: expected a whole number, 0 or more')
    return dict(layout=layout, counts={name: int(n) for name, n in counts.items()},
                width=int(width), height=int(height), seed=int(seed), drawing=DRAWING)


def _cityscapes_files(split, index):
    city = CITIES[split]
    stem = f'{split}/{city}/{city}_{index:06d}_000019'
    return [f'leftImg8bit/{stem}_leftImg8bit.png', f'gtFine/{stem}_gtFine_labelTrainIds.png',
            f'gtFine/{stem}_gtFine_labelIds.png']


def _voc_files(split, index):
    stem = f'{YEARS[split]}_{index:06d}'
    folders = ['SegmentationClassAug'] + ['SegmentationClass'] * (split != 'aug')
    return [f'JPEGImages/{stem}.jpg'] + [f'{folder}/{stem}.png' for folder in folders]


def _files(facts):
    """Every file of a tree, relative to its root, without the note."""
    name = dict(cityscapes=_cityscapes_files, voc=_voc_files)[facts['layout']]
    files = {path for split, count in facts['counts'].items() for index in range(count)
             for path in name(split, index)}
    if facts['layout'] == 'voc':
        files |= {f'ImageSets/Segmentation/{split}.txt' for split in (*facts['counts'], 'trainval')}
    return files


def _claim(root, facts):
    """Make ``root`` ours to write; False if what is asked for is already there."""
    if root.exists() and not root.is_dir():
        raise ValueError(f'root={root}: expected a folder, this is a file; choose another root')
    files = _files(facts)
    if root.is_dir() and any(root.iterdir()):
        note = _read_note(root)
        if note is None:
            raise ValueError(f'root={root}: expected an empty folder or one with drawn scenes '
                             f'({NOTE}); it holds other files, which are left alone. Choose '
                             'another root')
        finished = note.pop('finished')
        if finished and note == facts and all((root / name).is_file() for name in files):
            return False
        old = _files(note)
        found = {Path(folder, name).relative_to(root).as_posix()
                 for folder, _, names in os.walk(root) for name in names}
        foreign = sorted(found - old - {NOTE, f'{NOTE}.tmp'})
        if foreign:
            raise ValueError(f'root={root}: drawn scenes with other parameters are here, together '
                             f'with {len(foreign)} file(s) of other origin (such as '
                             f'{foreign[0]}); nothing was touched. Choose another root')
        for name in found & old:
            (root / name).unlink()
    root.mkdir(parents=True, exist_ok=True)
    _note(root, facts, finished=False)
    return True


def _read_note(root):
    """The note of a drawn tree, None if there is none that can be understood."""
    try:
        note = json.loads((root / NOTE).read_text())
        _files(note)
        note['finished']
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return note


def _note(root, facts, finished):
    draft = root / f'{NOTE}.tmp'
    draft.write_text(json.dumps(dict(facts, finished=finished), indent=2) + '\n')
    os.replace(draft, root / NOTE)  # never half a note


def _pictures(facts, root, progress):
    """(split, index) of every picture, with a progress bar."""
    jobs = [(split, i) for split, count in facts['counts'].items() for i in range(count)]
    return tqdm(jobs, desc=f'drawing {root}', unit='picture', mininterval=1,
                disable=not progress)


def _write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == '.jpg' else []
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f'could not write {path}')
