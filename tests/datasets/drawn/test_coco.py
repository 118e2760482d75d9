"""The drawn scenes in COCO's layout: every annotation is right, and mmdet reads and scores them."""
import copy
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from pycocotools import mask as mask_api

from mmkd.datasets.drawn import draw_instances, write_coco
from mmkd.datasets.drawn.coco import IDS, NAMES, polygons, run_lengths

COUNTS = dict(train=40, val=12)
SIZE = (120, 90)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp('coco') / 'things', *COUNTS.values(), *SIZE,
                      progress=False)


def content(root, split):
    return json.loads((Path(root) / f'annotations/instances_{split}2017.json').read_text())


def mask_of(annotation, size):
    """A mask (H, W) as pycocotools fills it."""
    segmentation = annotation['segmentation']
    runs = mask_api.frPyObjects(segmentation, *size)
    return mask_api.decode(mask_api.merge(runs) if isinstance(segmentation, list) else runs)


def build(root, loader='train_dataloader', config='coco_instance', **changes):
    """A data set as mmdet's stock config describes it, with another data_root."""
    import mmdet.datasets  # noqa: F401  (registers the classes)
    from mmdet.registry import DATASETS
    cfg = get_config(f'mmdet::_base_/datasets/{config}.py')
    cfg.merge_from_dict({f'{loader}.dataset.{key}': value
                         for key, value in dict(data_root=str(root), **changes).items()})
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(cfg[loader].dataset)


# ---- what is in the files -------------------------------------------------------------------
@pytest.mark.parametrize('split', COUNTS)
def test_pictures_and_ids(root, split):
    held = content(root, split)
    for kind in ('images', 'annotations', 'categories'):
        ids = [item['id'] for item in held[kind]]
        assert len(set(ids)) == len(ids) and min(ids) > 0
    assert len(held['images']) == COUNTS[split]
    images = {image['id']: image for image in held['images']}
    files = {path.name for path in (Path(root) / f'{split}2017').iterdir()}
    assert files == {image['file_name'] for image in images.values()}
    for image in images.values():
        picture = cv2.imread(str(Path(root) / f'{split}2017' / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3) == (*SIZE[::-1], 3)
    assert {a['image_id'] for a in held['annotations']} <= set(images)
    assert {a['category_id'] for a in held['annotations']} <= set(IDS.values())


@pytest.mark.parametrize('split', COUNTS)
def test_box_and_area_are_those_of_the_mask(root, split):
    for annotation in content(root, split)['annotations']:
        mask = mask_of(annotation, SIZE[::-1])
        rows, columns = np.nonzero(mask)
        left, top = columns.min(), rows.min()
        assert annotation['bbox'] == [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
        assert annotation['area'] == mask.sum() > 0


def test_there_is_what_detectors_stumble_over(root):
    """Several classes and sizes, pictures without things, crowds, things that hide others."""
    held = content(root, 'train')
    things = [a for a in held['annotations'] if not a['iscrowd']]
    per_image = Counter(a['image_id'] for a in held['annotations'])
    assert min(per_image[image['id']] for image in held['images']) == 0
    assert max(per_image.values()) >= 6
    assert len({a['category_id'] for a in things}) >= 12
    areas = sorted(a['area'] for a in things)
    assert areas[0] < 60 and areas[-1] > 1500
    crowds = [a for a in held['annotations'] if a['iscrowd']]
    assert len(crowds) >= 3
    assert all(isinstance(a['segmentation'], dict) for a in crowds)
    assert all(isinstance(a['segmentation'], list) for a in things)


def test_categories_are_those_of_mmdet(root):
    from mmdet.datasets import CocoDataset
    assert tuple(NAMES) == CocoDataset.METAINFO['classes']
    assert (IDS['person'], IDS['stop sign'], IDS['dining table'], IDS['toothbrush']) == (
        1, 13, 67, 90)
    held = content(root, 'val')
    assert [c['name'] for c in held['categories']] == NAMES


def test_chosen_classes(tmp_path):
    chosen = ['tv', 'person']
    held = content(write_coco(tmp_path / 'a', 12, 1, 64, 48, classes=chosen, progress=False),
                   'train')
    assert {a['category_id'] for a in held['annotations']} == {IDS[name] for name in chosen}
    for wrong in (['tvmonitor'], [], ['zebra']):
        with pytest.raises(ValueError, match='couch, potted plant'):
            write_coco(tmp_path / 'b', 1, 1, classes=wrong, progress=False)
    with pytest.raises(ValueError, match='unicorn'):
        draw_instances(np.random.default_rng(0), first='unicorn')


@pytest.mark.parametrize('seed', range(6))
def test_any_mask_survives_its_outline_and_its_runs(seed):
    rng = np.random.default_rng(seed)
    noise = rng.random((17, 23)) < rng.uniform(0.2, 0.8)
    runs = mask_api.frPyObjects(run_lengths(noise), 17, 23)
    assert np.array_equal(mask_api.decode(runs), noise)
    from mmkd.datasets.drawn.objects.instances import _filled
    filled = _filled(noise)
    assert filled[noise].all()
    runs = mask_api.merge(mask_api.frPyObjects(polygons(filled), 17, 23))
    assert np.array_equal(mask_api.decode(runs), filled)


# ---- mmdet reads and scores them ------------------------------------------------------------
@pytest.mark.parametrize('config', ['coco_detection', 'coco_instance'])
@pytest.mark.parametrize('empty', [True, False])
def test_loads_with_the_stock_config(root, config, empty):
    data = build(root, config=config, **{'filter_cfg.filter_empty_gt': empty})
    held = content(root, 'train')
    with_things = {a['image_id'] for a in held['annotations']}
    assert len(data) == (len(with_things) if empty else COUNTS['train']) < COUNTS['train'] + 1
    assert len(with_things) < COUNTS['train']
    boxes = 0
    for i in range(len(data)):
        sample = data[i]['data_samples']
        found = sample.gt_instances
        boxes += len(found) + len(sample.ignored_instances)
        assert len(found.bboxes) == len(found.labels)
        assert (found.labels >= 0).all() and (found.labels < 80).all()
        if config == 'coco_instance':
            assert len(found.masks) == len(found.labels)
    assert boxes == len(held['annotations'])


def test_labels_are_the_names(root):
    data = build(root, 'val_dataloader')
    held = content(root, 'val')
    names = {c['id']: c['name'] for c in held['categories']}
    wanted = Counter(names[a['category_id']] for a in held['annotations'])
    got = Counter(NAMES[one['bbox_label']] for i in range(len(data))
                  for one in data.get_data_info(i)['instances'])
    assert got == wanted


def test_truth_against_itself_scores_1(root):
    from mmdet.evaluation import CocoMetric
    data = build(root, 'val_dataloader')
    metric = CocoMetric(f'{root}/annotations/instances_val2017.json', ['bbox', 'segm'])
    metric.dataset_meta = data.metainfo

    def score(change):
        for i in range(len(data)):
            sample = copy.deepcopy(data[i]['data_samples'])
            truth = sample.gt_instances  # in the picture's own size: read after the resizing
            sample.pred_instances = InstanceData(
                bboxes=change(truth.bboxes.tensor), labels=truth.labels,
                scores=torch.ones(len(truth)),
                masks=torch.from_numpy(truth.masks.to_ndarray().astype(bool)))
            metric.process({}, [sample.to_dict()])
        return metric.evaluate(len(data))

    scores = score(lambda boxes: boxes)
    assert scores['coco/bbox_mAP'] == scores['coco/segm_mAP'] == 1
    moved = score(lambda boxes: boxes + 4)
    assert moved['coco/bbox_mAP'] < 0.9 and moved['coco/segm_mAP'] == 1
