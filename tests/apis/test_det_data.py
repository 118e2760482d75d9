"""Detection data that are not there, or do not fit, are told before anything is built."""
import json
import shutil
from pathlib import Path

import pytest
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.config import Config

from mmkd.apis import check_datasets
from mmkd.datasets.drawn import write_coco

CLASSES = ('person', 'car', 'dog')
STEPS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
         dict(type='PackDetInputs')]


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    return Path(write_coco(tmp_path_factory.mktemp('drawn') / 'a', 12, 4, 64, 48, seed=1,
                           classes=CLASSES, progress=False))


@pytest.fixture
def root(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / 'a')
    return tmp_path / 'a'


def change(root, split='train', **changes):
    """Rewrite parts of an annotation file: key -> function(what is there)."""
    path = root / f'annotations/instances_{split}2017.json'
    content = json.loads(path.read_text())
    for key, how in changes.items():
        content[key] = how(content[key])
    path.write_text(json.dumps(content))
    return content


def config(root, num_classes=3, teacher=None, evaluator='val', **dataset):
    def loader(split, **more):
        return dict(batch_size=2, dataset={**dict(
            type='CocoDataset', data_root=str(root), metainfo=dict(classes=CLASSES),
            ann_file=f'annotations/instances_{split}2017.json',
            data_prefix=dict(img=f'{split}2017/'), pipeline=STEPS), **more, **dataset})
    model = dict(type='mmdet.GFL', bbox_head=dict(type='GFLHead', num_classes=num_classes))
    if teacher is not None:
        model = dict(type='mmkd.OfflineDistiller', student=model, teacher=teacher,
                     distillations=dict(a=dict(tap=dict(cls='cls', reg='reg'), loss=dict())))
    return Config(dict(
        default_scope='mmdet', model=model, train_dataloader=loader('train'),
        val_dataloader=loader('val', test_mode=True),
        val_evaluator=dict(type='CocoMetric', ann_file=str(
            root / f'annotations/instances_{evaluator}2017.json'))))


def told(cfg, *parts, error=ValueError):
    with pytest.raises(error) as info:
        check_datasets(cfg)
    for part in parts:
        assert part in str(info.value), str(info.value)
    return str(info.value)


def test_good_data(root):
    found = check_datasets(config(root))
    assert [(c.loader, c.kind, c.count, c.names) for c in found] == [
        (f'{split}_dataloader', 'CocoDataset', count, CLASSES)
        for split, count in (('train', 12), ('val', 4))]
    assert len(found[0].pictures) == 12
    wrapped = config(root)
    wrapped.train_dataloader.dataset = dict(
        type='MultiImageMixDataset', pipeline=STEPS[2:], dataset=wrapped.train_dataloader.dataset)
    assert [c.count for c in check_datasets(wrapped)] == [12, 4]


# ---- what is not there ------------------------------------------------------------------
def test_nothing_there(tmp_path):
    message = told(config(tmp_path / 'coco'), 'annotations_trainval2017.zip',
                   f'make_street_scenes.py coco {tmp_path}/coco', 'dataset.data_root=',
                   error=FileNotFoundError)
    assert 'val_evaluator.ann_file' in message


def test_a_file_of_the_evaluator(root):
    cfg = config(root, evaluator='vla')
    told(cfg, 'instances_vla2017.json does not exist', "did you mean 'instances_val2017.json'",
         '--cfg-options val_evaluator.ann_file=', error=FileNotFoundError)
    cfg.val_evaluator = [dict(type='VOCMetric'), cfg.val_evaluator]
    told(cfg, 'val_evaluator[1].ann_file', error=FileNotFoundError)
    change(root, 'val', images=lambda images: [dict(image, id=image['id'] + 100)
                                               for image in images],
           annotations=lambda held: [dict(one, image_id=one['image_id'] + 100) for one in held])
    told(config(root, evaluator='train'), 'does not have 4 of the 4 pictures', 'id 101',
         'give the same annotations to both')
    check_datasets(config(root))


def test_pictures_that_are_not_there(root):
    (root / 'train2017/000000000003.jpg').unlink()
    told(config(root), '1 of 12 pictures that', 'instances_train2017.json', '000000000003.jpg',
         'data_prefix.img is')
    change(root, images=lambda images: [dict(image, file_name=f'x/{image["file_name"]}')
                                        for image in images])
    told(config(root), '12 of 12 pictures', 'there is no folder')


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"images": []}', 'no json'])
def test_a_file_that_is_no_coco_file(root, text):
    (root / 'annotations/instances_train2017.json').write_text(text)
    told(config(root), 'instances_train2017.json')


# ---- boxes and pictures -------------------------------------------------------------------
def test_a_file_without_pictures_or_without_boxes(root):
    change(root, images=lambda images: [], annotations=lambda held: [])
    told(config(root), 'instances_train2017.json names no picture')
    change(root, 'val', annotations=lambda held: [])
    told(config(root), 'none of the 4 pictures', 'nothing to evaluate by')
    change(root, 'val', images=lambda images: [])


@pytest.mark.parametrize('filter_empty', [True, False])
def test_no_box_in_the_training_set(root, filter_empty):
    change(root, annotations=lambda held: [])
    told(config(root, filter_cfg=dict(filter_empty_gt=filter_empty)),
         'none of the 12 pictures', "the classes 'person', 'car', 'dog'", 'nothing to learn')


def test_boxes_of_pictures_that_are_not_listed(root):
    change(root, images=lambda images: images[:9] + images[10:])
    told(config(root), 'annotations in', 'are of pictures that it does not list',
         'the first of image_id 10')


def test_boxes_of_no_category(root):
    content = change(root, annotations=lambda held: [dict(held[0], category_id=999), *held[1:]])
    told(config(root), f"1 of {len(content['annotations'])} annotations", 'category_id', '999')


def test_ids_that_occur_twice(root):
    change(root, annotations=lambda held: [dict(one, id=1) for one in held])
    told(config(root), 'not unique')


@pytest.mark.parametrize('filter_empty', [True, False])
def test_pictures_without_boxes_are_counted(root, filter_empty):
    content = change(root, annotations=lambda held: [
        one for one in held if one['image_id'] not in (3, 5)])
    empty = 12 - len({one['image_id'] for one in content['annotations']})
    found = check_datasets(config(root, filter_cfg=dict(filter_empty_gt=filter_empty)))[0]
    assert empty >= 2 and found.count == (12 - empty if filter_empty else 12)
    assert any(note.startswith(f'{empty} ') for note in found.notes) and not found.problems


def test_a_filter_that_leaves_nothing(root):
    told(config(root, filter_cfg=dict(min_size=64)), 'leaves none of the 12 pictures',
         "'min_size': 64")


def test_boxes_that_mmdet_leaves_out_are_counted(root):
    def broken(held):
        return [dict(held[0], bbox=[500, 500, 9, 9]), dict(held[1], bbox=[3, 3, 0, 4]), *held[2:]]
    change(root, annotations=broken)
    assert any(note.startswith('2 of') for note in check_datasets(config(root))[0].notes)


def test_masks_that_are_wanted_and_not_there(root):
    steps = [STEPS[0], dict(STEPS[1], with_mask=True), STEPS[2]]
    check_datasets(config(root, pipeline=steps))
    change(root, annotations=lambda held: [
        {k: v for k, v in one.items() if k != 'segmentation' or i} for i, one in enumerate(held)])
    told(config(root, pipeline=steps), 'with_mask=True', 'boxes of 1 pictures have none')
    check_datasets(config(root))


def test_panoptic_data(root):
    """Annotations of pictures, with segments; other classes than COCO's things."""
    def segments(held):
        return [dict(image_id=i, file_name=f'{i}.png', segments_info=[
            dict(id=10 * i, category_id=1, bbox=[1, 2, 30, 20], area=500, iscrowd=0)])
            for i in range(1, 13)]
    names = ['person', 'sky']
    change(root, annotations=segments, categories=lambda held: [
        dict(id=i + 1, name=name, isthing=int(i == 0)) for i, name in enumerate(names)])
    cfg = config(root)
    cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.dataset.update(
        type='CocoPanopticDataset', data_prefix=dict(img='train2017/', seg='annotations/'),
        metainfo=dict(classes=names, thing_classes=names[:1], stuff_classes=names[1:]))
    cfg.model = dict(type='Mask2Former', panoptic_head=dict(type='Mask2FormerHead'))
    found, = check_datasets(cfg)
    assert found.count == 12 and found.classes == 2
    cfg.train_dataloader.dataset.metainfo.classes = names[::-1]
    told(cfg, 'in another order')


def test_boxes_of_another_kind_of_data_set(root):
    @DATASETS.register_module(force=True)
    class Captions(BaseDetDataset):
        def load_data_list(self):
            return [dict(img_path=str(root / 'train2017/000000000001.jpg'), text='a dog')]

    cfg = config(root, type='Captions')
    assert [found.count for found in check_datasets(cfg)] == [1, 1]
