"""A drawn data set's folder: what is in it, and that no other file is touched.

Every picture depends on (seed, split, index) alone. A small note inside the tree says what it
holds, so that a finished tree is not drawn again, a half-written one is, and a folder that holds
anything else is left alone.
"""
import json
import os
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .camera import check_size

NOTE = 'drawn_scenes.json'
DRAWING = 1  # raise when the same seed gives other pictures
SPLITS = dict(train=0, val=1, aug=2)
#: layout -> function(facts): every file of a tree, relative to its root, without the note
FILES = {}


def scene_rng(seed, split, index):
    """The random generator of one picture."""
    return np.random.default_rng([seed, SPLITS[split], index])


def tree_facts(layout, counts, width, height, seed, what='pictures', **more):
    """The parameters that make the tree, checked (``more`` are the layout's own; ``what`` is
    counted)."""
    check_size(width, height)
    for name, count in counts.items():
        if int(count) != count or count < 1:
            raise ValueError(f'{name}={count}: expected a whole number of {what}, at least 1')
    if int(seed) != seed or seed < 0:
        raise ValueError(f'seed={seed}: expected a whole number, 0 or more')
    return dict(layout=layout, counts={name: int(n) for name, n in counts.items()},
                width=int(width), height=int(height), seed=int(seed), drawing=DRAWING, **more)


def claim(root, facts):
    """Make ``root`` ours to write; False if what is asked for is already there."""
    if root.exists() and not root.is_dir():
        raise ValueError(f'root={root}: expected a folder, this is a file; choose another root')
    files = FILES[facts['layout']](facts)
    if root.is_dir() and any(root.iterdir()):
        note = _read_note(root)
        if note is None:
            raise ValueError(f'root={root}: expected an empty folder or one with drawn scenes '
                             f'({NOTE}); it holds other files, which are left alone. Choose '
                             'another root')
        finished = note.pop('finished')
        if finished and note == facts and all((root / name).is_file() for name in files):
            return False
        old = FILES[note['layout']](note)
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
    write_note(root, facts, finished=False)
    return True


def _read_note(root):
    """The note of a drawn tree, None if there is none that can be understood."""
    try:
        note = json.loads((root / NOTE).read_text())
        FILES[note['layout']](note)
        note['finished']
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return note


def write_note(root, facts, finished):
    """Note in the tree what it holds, or is about to hold."""
    draft = root / f'{NOTE}.tmp'
    draft.write_text(json.dumps(dict(facts, finished=finished), indent=2) + '\n')
    os.replace(draft, root / NOTE)  # never half a note


def pictures(facts, root, progress):
    """(split, index) of every picture, with a progress bar."""
    jobs = [(split, i) for split, count in facts['counts'].items() for i in range(count)]
    return tqdm(jobs, desc=f'drawing {root}', unit='picture', mininterval=1,
                disable=not progress)


def write(path, pixels):
    """Write a picture (H, W) or (H, W, 3), and the folder it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == '.jpg' else []
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f'could not write {path}')
