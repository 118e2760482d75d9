"""What is in a data set of mmdet: pictures with boxes, in COCO's format or another.

mmdet leaves out without a word what it cannot use: boxes of pictures that are not listed, of
categories that are no class, without a size; and it numbers the classes by the categories that it
finds. What would so become another training than is meant is a problem, the rest a note.
"""
import os
from xml.etree import ElementTree

from ..utils.configs import type_name
from ..utils.hints import did_you_mean
from .data_contents import look_for_files


def look(dataset, contents, cfg):
    """Add to the Contents what is in a ``BaseDetDataset``."""
    where, file = contents.where, dataset.ann_file or 'it'
    files = _keep_coco(dataset)
    try:
        samples = dataset.load_data_list()
        dataset.data_list = samples
        kept = dataset.filter_data()
    except Exception as error:
        contents.problems.append(f'{where}: {file} cannot be read as its annotations '
                                 f'({type(error).__name__}: {error})')
        return
    contents.count = len(kept)
    contents.pictures = [sample['img_path'] for sample in kept if 'img_path' in sample]
    contents.ids = [sample['img_id'] for sample in kept if 'img_id' in sample]
    if not samples:
        contents.problems.append(f'{where}: {file} names no picture')
        return
    for coco in files:
        _look_at_categories(contents, coco, dataset.cat_ids, file)
        _look_for_lost_boxes(contents, coco, samples, file)
    _look_at_names(contents, samples)
    prefix = dataset.data_prefix or {}
    key = next((key for key in ('img', 'img_path', 'sub_data_root') if key in prefix), 'img')
    look_for_files(contents, kept, 'img_path', f'pictures that {file} names',
                   f'data_prefix.{key}', prefix.get(key))
    _look_at_instances(contents, samples, kept, cfg, file)


def _keep_coco(dataset):
    """A list that will hold the COCO file that the data set is about to read, if it reads one."""
    files, read = [], getattr(dataset, 'COCOAPI', None)
    if read is not None:
        def keep(path):
            files.append(read(path))
            return files[-1]
        dataset.COCOAPI = keep
    return files


def _look_at_categories(contents, coco, ids, file):
    """Is label i the category that is called as class i?"""
    if contents.names is None:
        return
    held = {i: category['name'] for i, category in coco.cats.items()}
    called, wanted = [held[i] for i in ids], list(contents.names)
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        contents.problems.append(
            f'{contents.where}: {file} has several categories called {twice!r}, of ids '
            f'{[i for i in ids if held[i] == twice]}, and mmdet takes each for a class of its own; '
            'give their boxes one category_id and keep one category')
        return
    if called == wanted:
        return
    lost = [name for name in wanted if name not in held.values()]
    if lost:
        some = ', '.join(map(repr, lost[:4])) + (' ...' if len(lost) > 4 else '')
        near = ''.join(dict.fromkeys(did_you_mean(name, held.values(), 1) for name in lost[:4]))
        contents.problems.append(
            f'{contents.where}: {file} has no category {some} of the {len(wanted)} classes in '
            f'metainfo (it has {_some(held.values())}), and mmdet would take each later class for '
            f'another one{near}')
    else:
        contents.problems.append(
            f'{contents.where}: metainfo has the classes in another order than the categories of '
            f'{file}, by which mmdet numbers them; write classes=({_some(called, len(called))})')


def _look_at_names(contents, samples):
    """Names in XML files that are no class, where a class has no box: it is spelt otherwise."""
    if contents.names is None or not samples or 'xml_path' not in samples[0]:
        return
    found = {name.text for sample in samples
             for name in ElementTree.parse(sample['xml_path']).iterfind('object/name')}
    lost = [name for name in contents.names if name not in found]
    others = sorted(found - set(contents.names))
    if lost and others:
        contents.problems.append(
            f'{contents.where}: no box is called {_some(lost)}, as metainfo has its classes; the '
            f'XML files also have {_some(others)}{did_you_mean(lost[0], others, 1)}')
    elif others:
        contents.notes.append(f'boxes called {_some(others)} are not used')


def _look_for_lost_boxes(contents, coco, samples, file):
    """Boxes of pictures that the file does not list, and boxes that mmdet leaves out."""
    annotations = list(coco.anns.values())
    if not all(isinstance(one, dict) and 'bbox' in one for one in annotations):  # panoptic
        return
    lost = [a for a in annotations if a['image_id'] not in coco.imgs]
    if lost:
        contents.problems.append(
            f'{contents.where}: {len(lost)} of {len(annotations)} annotations in {file} are of '
            f"pictures that it does not list, the first of image_id {lost[0]['image_id']!r}")
    unlisted = [a for a in annotations if a['category_id'] not in coco.cats]
    if unlisted:
        contents.problems.append(
            f'{contents.where}: {len(unlisted)} of {len(annotations)} annotations in {file} have '
            f"a category_id that is none of its categories, the first "
            f"{unlisted[0]['category_id']!r}")
    used = sum(len(sample['instances']) for sample in samples)
    if used < len(annotations) - len(lost) - len(unlisted):
        contents.notes.append(
            f'{len(annotations) - used} of {len(annotations)} annotations are not used (of another '
            'class, ignored, or without a box inside the picture)')
    beyond = sum(_reaches_out(one['bbox'], sample) for sample in samples
                 for one in sample['instances'])
    if beyond:
        contents.notes.append(
            f"{beyond} of {used} boxes reach out of their picture (COCO's bbox is x, y, width, "
            'height: is it so here?)')


def _reaches_out(box, sample, slack=1.):
    """Is a side of the box (x1, y1, x2, y2) more than ``slack`` pixels outside the picture?"""
    return (min(box[:2]) < -slack or box[2] > sample['width'] + slack
            or box[3] > sample['height'] + slack)


def _look_at_instances(contents, samples, kept, cfg, file):
    """Are there boxes, and masks where they are wanted?"""
    if not any('instances' in sample for sample in samples):  # it has something else than boxes
        return
    training = contents.loader.startswith('train')
    instances = [one for sample in samples for one in sample.get('instances') or ()]
    ignored = sum(bool(one.get('ignore_flag')) for one in instances)
    may_be_empty = contents.loader.startswith('test')
    if ignored == len(instances) and not may_be_empty:
        contents.problems.append(
            f'{contents.where}: none of the {len(samples)} pictures of {file} has a box of the '
            f'classes {_some(contents.names or ())}'
            + (f' but {ignored} to be ignored (iscrowd, difficult)' if ignored else '')
            + ', so there is nothing to ' + ('learn' if training else 'evaluate by'))
        return
    if not kept:
        contents.problems.append(
            f"{contents.where}: filter_cfg={dict(cfg.get('filter_cfg') or {})} leaves none of the "
            f'{len(samples)} pictures')
    elif len(kept) < len(samples):
        contents.notes.append(f'{len(samples) - len(kept)} pictures are left out by filter_cfg')
    if ignored:
        contents.notes.append(f'{ignored} of {len(instances)} boxes are to be ignored (iscrowd, '
                              'difficult)')
    empty = sum(not sample.get('instances') for sample in kept)
    if empty:
        contents.notes.append(f'{empty} of the pictures have no box')
    steps = [step for step in cfg.get('pipeline') or () if type_name(step) == 'LoadAnnotations']
    bare = [sample for sample in kept
            if any('mask' not in one for one in sample.get('instances') or ())]
    if bare and any(step.get('with_mask') for step in steps):
        contents.problems.append(
            f'{contents.where}: the pipeline loads masks (with_mask=True), but boxes of '
            f"{len(bare)} pictures have none, the first of {os.path.basename(bare[0]['img_path'])}")


def _some(names, most=8):
    names = list(names)
    return ', '.join(map(repr, names[:most])) + (' ...' if len(names) > most else '') or 'none'
