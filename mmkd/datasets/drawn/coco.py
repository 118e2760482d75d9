"""Writes drawn scenes to disk in the layout of COCO 2017, with boxes and masks.

The tree is read by mmdet's own ``CocoDataset`` with its base configs; only ``data_root`` changes.
"""
import json
from pathlib import Path

import cv2
import numpy as np

from .objects.instances import draw_instances
from .objects.scenes import OBJECTS
from .trees import FILES, claim, pictures, scene_rng, tree_facts, write, write_note

#: COCO's eighty classes; their ids are counted on from 1 and leave out those of NO_CLASS
NAMES = (
    'person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, '
    'fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, '
    'bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, '
    'sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, '
    'bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, '
    'carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, '
    'tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, '
    'refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush').split(', ')
NO_CLASS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
IDS = dict(zip(NAMES, (i for i in range(1, 91) if i not in NO_CLASS), strict=True))
#: what the drawn classes, named as in Pascal VOC, are called in COCO
COCO_NAMES = {**{name: name for name in OBJECTS}, **dict(
    aeroplane='airplane', diningtable='dining table', motorbike='motorcycle',
    pottedplant='potted plant', sofa='couch', tvmonitor='tv')}


def write_coco(root, train=400, val=100, width=192, height=144, seed=0, classes=None,
               progress=True):
    """Scenes of many things as COCO 2017 stores them: boxes, masks, crowds, empty pictures.

    Args:
        root (str): the tree's root, ``data_root`` of the dataset.
        train (int): pictures to train on.
        val (int): pictures to validate on.
        width (int): picture width.
        height (int): picture height.
        seed (int): source of every choice.
        classes (sequence of str): which of the twenty drawn classes occur, by their names in COCO;
            all if None. The files list all eighty classes of COCO in either case.
        progress (bool): show a progress bar.

    Returns:
        str: ``data_root`` for mmdet's config.

    Raises:
        ValueError: on sizes, counts or classes that make no sense, or if the folder holds other
            files.
    """
    root = Path(root)
    drawn = _drawn_names(classes)
    facts = tree_facts('coco', dict(train=train, val=val), width, height, seed,
                       classes=[COCO_NAMES[name] for name in drawn])
    if not claim(root, facts):
        return str(root)
    files = {split: dict(
        info=dict(description='drawn scenes, no photographs', version='1.0', year=2017),
        licenses=[], images=[], annotations=[],
        categories=[dict(id=i, name=name, supercategory=name) for name, i in IDS.items()])
        for split in facts['counts']}
    for split, index in pictures(facts, root, progress):
        first = drawn[index % len(drawn)]  # all classes equally often
        image, things = draw_instances(scene_rng(seed, split, index), width, height, drawn, first)
        name = root / _picture(split, index)
        write(name, image)
        _add(files[split], index + 1, name.name, image.shape[:2], things)
    for split, content in files.items():
        path = root / _annotations(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    write_note(root, facts, finished=True)
    return str(root)


def _drawn_names(classes):
    """Names of the drawn classes, in COCO's order, of their names in COCO."""
    by_coco = {COCO_NAMES[name]: name for name in OBJECTS}
    wanted = list(by_coco) if classes is None else list(classes)
    unknown = [name for name in wanted if name not in by_coco]
    if unknown or not wanted:
        raise ValueError(f'classes={wanted}: expected some of '
                         f'{", ".join(sorted(by_coco, key=NAMES.index))}')
    return [by_coco[name] for name in sorted(set(wanted), key=NAMES.index)]


def _add(content, image_id, file_name, size, things):
    """Add a picture and its things to what an annotation file will hold."""
    content['images'].append(dict(id=image_id, file_name=file_name, height=size[0], width=size[1]))
    for thing in things:
        rows, columns = (np.flatnonzero(thing.mask.any(axis)) for axis in (1, 0))
        left, top = int(columns[0]), int(rows[0])
        content['annotations'].append(dict(
            id=len(content['annotations']) + 1, image_id=image_id,
            category_id=IDS[COCO_NAMES[thing.name]], iscrowd=int(thing.crowd),
            bbox=[left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            area=int(thing.mask.sum()),
            segmentation=run_lengths(thing.mask) if thing.crowd else polygons(thing.mask)))


def run_lengths(mask):
    """A mask (H, W) as COCO stores that of a crowd: lengths of runs down the columns, the first
    one of zeros."""
    flat = mask.T.ravel()
    ends = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    counts = np.diff(ends).tolist()
    return dict(counts=[0, *counts] if flat[0] else counts, size=list(mask.shape))


def polygons(mask):
    """The outlines [x0, y0, x1, y1, ...] of a mask (H, W) without holes, a sixth of a pixel within
    its pixels' edges: whoever fills them gets this mask."""
    fine = np.kron(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((outline[:, 0] + 0.5) / 3).round(2).ravel().tolist() for outline in outlines]


def _picture(split, index):
    return f'{split}2017/{index + 1:012d}.jpg'


def _annotations(split):
    return f'annotations/instances_{split}2017.json'


def _all_files(facts):
    return {_annotations(split) for split in facts['counts']} | {
        _picture(split, index) for split, count in facts['counts'].items()
        for index in range(count)}


FILES['coco'] = _all_files
