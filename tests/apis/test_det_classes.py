"""Classes of detection data against those of networks, and names in XML files."""
# ruff: noqa: F811 - fixtures are imported
import shutil

import pytest
import torch

from mmkd.apis import check_datasets
from tests.apis.test_det_data import (  # noqa: F401
    CLASSES,
    STEPS,
    change,
    config,
    drawn,
    root,
    told,
)


# ---- classes ----------------------------------------------------------------------------
@pytest.mark.parametrize('classes, parts', [
    (('person', 'carr', 'dog'), ["no category 'carr' of the 3 classes", "did you mean 'car'"]),
    (('a', 'b', 'c'), ["no category 'a', 'b', 'c'"]),
    (('dog', 'person', 'car'), ['in another order', "classes=('person', 'car', 'dog')"])])
def test_classes_that_are_other_categories(root, classes, parts):
    told(config(root, metainfo=dict(classes=classes)), *parts)


def test_a_class_without_boxes_is_one_if_it_is_a_category(root):
    four = ('person', 'car', 'dog', 'toothbrush')
    check_datasets(config(root, num_classes=4, metainfo=dict(classes=four)))
    for split in ('train', 'val'):
        change(root, split, categories=lambda held: [c for c in held if c['name'] in CLASSES])
    told(config(root, num_classes=4, metainfo=dict(classes=four)), "no category 'toothbrush'")


@pytest.mark.parametrize('count', [1, 2, 4, 80])
def test_another_number_of_classes(root, count):
    told(config(root, count), f'model.bbox_head.num_classes={count}',
         'CocoDataset of train_dataloader has 3 classes')
    teacher = dict(config=dict(bbox_head=dict(type='GFLHead', num_classes=count), type='GFL'))
    told(config(root, teacher=teacher), f'teacher.bbox_head.num_classes={count}', 'cannot teach')
    by_features = config(root, teacher=teacher)
    by_features.model.distillations.a.tap = 'neck'
    check_datasets(by_features)


def test_what_tells_things_from_background_has_one_class(root):
    cfg = config(root)
    cfg.model.rpn_head = dict(type='RPNHead', num_classes=1)
    check_datasets(cfg)


def test_a_teacher_of_the_same_classes_in_another_order(root, tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr('mmkd.apis.classes.print_log', lambda text, **kwargs: warned.append(text))

    def teacher(names):
        path = tmp_path / 'teacher.pth'
        torch.save(dict(meta=dict(dataset_meta=dict(classes=names)), state_dict={}), path)
        return dict(config=dict(type='GFL', bbox_head=dict(type='GFLHead', num_classes=3)),
                    checkpoint=str(path))
    check_datasets(config(root, teacher=teacher(CLASSES)))
    told(config(root, teacher=teacher(CLASSES[::-1])), 'teacher was trained on the classes dog, ',
         "class 0 is 'dog' to the one and 'person' to the other")
    assert warned == []
    check_datasets(config(root, teacher=teacher(('people', 'cars', 'dogs'))))  # may mean the same
    assert len(warned) == 1 and "class 0 is 'people'" in warned[0]


@pytest.mark.parametrize('told_of, term', [
    (True, dict(tap='cls[:3]')), (True, dict(tap=dict(cls='cls[1:]', reg='reg'))),
    (True, dict(tap=dict(feature='neck', cls='cls'), student_connector=dict(feature=dict()))),
    (False, dict(tap='neck')),
    (False, dict(tap=dict(feature='neck', cls='cls'), student_connector=dict(cls=dict()))),
    (False, dict(tap=dict(feature='neck', cls='cls'), student_connector=dict(type='A')))])
def test_which_terms_compare_class_scores(told_of, term, root, tmp_path):
    path = tmp_path / 'teacher.pth'
    torch.save(dict(meta=dict(dataset_meta=dict(classes=CLASSES[::-1])), state_dict={}), path)
    cfg = config(root, teacher=dict(checkpoint=str(path), config=dict(
        type='GFL', bbox_head=dict(type='GFLHead', num_classes=3))))
    cfg.model.distillations = dict(a=dict(term, loss=dict()))
    if told_of:
        told(cfg, 'teacher was trained on the classes dog, ')
    else:
        check_datasets(cfg)


# ---- Pascal VOC's format ------------------------------------------------------------------
def voc(root, names, classes=('RBC', 'WBC'), **changes):
    """A data set of one picture for each list of names, as XMLDataset reads it."""
    for folder in ('JPEGImages', 'Annotations', 'ImageSets'):
        (root / 'voc' / folder).mkdir(parents=True, exist_ok=True)
    for i, boxes in enumerate(names):
        shutil.copy(next((root / 'train2017').iterdir()), root / f'voc/JPEGImages/{i}.jpg')
        objects = ''.join(f'<object><name>{name}</name><bndbox><xmin>3</xmin><ymin>4</ymin>'
                          '<xmax>30</xmax><ymax>20</ymax></bndbox></object>' for name in boxes)
        (root / f'voc/Annotations/{i}.xml').write_text(
            f'<annotation><size><width>64</width><height>48</height></size>{objects}</annotation>')
    (root / 'voc/ImageSets/all.txt').write_text(''.join(f'{i}\n' for i in range(len(names))))
    cfg = config(root, num_classes=2)
    cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.dataset = {**dict(
        type='XMLDataset', data_root=str(root / 'voc'), ann_file='ImageSets/all.txt',
        data_prefix=dict(sub_data_root=''), metainfo=dict(classes=classes), pipeline=STEPS),
        **changes}
    return cfg


def test_names_in_xml_files(root):
    found, = check_datasets(voc(root, [['RBC', 'WBC'], [], ['RBC', 'x']]))
    assert found.count == 3 and found.classes == 2
    assert any("'x'" in note for note in found.notes)
    told(voc(root, [['RBC', 'wbc'], []]), "no box is called 'WBC'", "did you mean 'wbc'")
    told(voc(root, [['a'], ['b']]), 'none of the 2 pictures', "have 'a', 'b'")
    check_datasets(voc(root, [['RBC'], ['RBC']]))  # the other class may just not occur


def test_a_list_of_xml_files_that_are_not_there(root):
    cfg = voc(root, [['RBC', 'WBC']] * 3)
    (root / 'voc/Annotations/1.xml').unlink()
    told(cfg, 'ImageSets/all.txt cannot be read as its annotations', '1.xml')
    cfg = voc(root, [['RBC', 'WBC']] * 3)
    (root / 'voc/JPEGImages/2.jpg').unlink()
    told(cfg, '1 of 3 pictures', '2.jpg')
    (root / 'voc/ImageSets/all.txt').write_text('')
    told(cfg, 'names no picture')
