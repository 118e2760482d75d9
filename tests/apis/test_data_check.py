"""Data that are not there, or do not fit, are told before anything is built: one message."""
import copy

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmkd.apis import check_datasets
from mmkd.apis.classes import heads
from tests.helpers import runner_config, tiny_distiller, tiny_segmentor

CLASSES = ('road', 'car', 'tree', 'sky')
STEPS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


@pytest.fixture
def root(tmp_path):
    """Six pictures in images/, masks of 4 classes and 255 in labels/."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for i in range(6):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(tmp_path / f'images/{i}.jpg')
        save_mask(tmp_path / f'labels/{i}.png', [0, 1, 2, 3, 255])
    return tmp_path


def save_mask(path, values):
    Image.fromarray(np.resize(np.array(values, np.uint8), (8, 8))).save(path)


def config(root, model=None, **dataset):
    data = {**dict(type='BaseSegDataset', data_root=str(root), metainfo=dict(classes=CLASSES),
                   data_prefix=dict(img_path='images', seg_map_path='labels'), pipeline=STEPS),
            **dataset}
    model = model or tiny_segmentor(num_classes=len(CLASSES))
    cfg = runner_config(model, root / 'work')
    cfg.train_dataloader.dataset = cfg.val_dataloader.dataset = data
    return cfg


def told(cfg, *parts, error=ValueError):
    with pytest.raises(error) as info:
        check_datasets(cfg)
    for part in parts:
        assert part in str(info.value)
    assert '..' not in str(info.value).replace('=...', '')
    return str(info.value)


@pytest.mark.parametrize('kind, tool', [
    ('CityscapesDataset', 'make_street_scenes.py cityscapes'),
    ('PascalVOCDataset', 'make_street_scenes.py voc'),
    ('CocoDataset', 'make_street_scenes.py coco'), ('NuScenesDataset', 'make_nuscenes.py')])
def test_what_is_missing_can_be_drawn(root, kind, tool):
    message = told(config(root, type=kind, data_root=str(root / 'none'), ann_file='infos.pkl'),
                   'To get it: ', f'python tools/{tool} {root}/none', error=FileNotFoundError)
    assert f'{root}/none/infos.pkl' in message


def test_good_data(root):
    found = check_datasets(config(root))
    assert [(c.loader, c.kind, c.count, c.classes) for c in found] == [
        (f'{split}_dataloader', 'BaseSegDataset', 6, 4) for split in ('train', 'val')]
    wrapped = config(root)
    wrapped.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=wrapped.val_dataloader.dataset)
    assert len(check_datasets(wrapped)) == 2
    nothing = config(root)
    nothing.train_dataloader = nothing.val_dataloader = None
    assert check_datasets(nothing) == []


# ---- what is not there ------------------------------------------------------------------
def test_no_such_root(root):
    message = told(config(root / 'nowhere'), str(root / 'nowhere'), 'does not exist. If you have',
                   '--cfg-options train_dataloader.dataset.data_root=', error=FileNotFoundError)
    assert message.count('\n') == 1, 'train and val'


@pytest.mark.parametrize('folder, near', [
    ('image', "did you mean 'images'"), ('image/train', "did you mean 'images'"),
    ('xyz', 'there is images, labels')])
def test_no_such_folder_in_a_root_that_is_there(root, folder, near):
    prefix = dict(img_path=folder, seg_map_path='labels')
    message = told(config(root, data_prefix=prefix), str(root / folder), near,
                   'train_dataloader.dataset.data_prefix.img_path=', error=FileNotFoundError)
    assert 'data_root=' not in message and 'make_street_scenes' not in message


def test_annotations_that_are_not_read_may_be_missing(root):
    prefix = dict(img_path='images', seg_map_path='none')
    told(config(root, data_prefix=prefix), 'none', error=FileNotFoundError)
    check_datasets(config(root, data_prefix=prefix, pipeline=[STEPS[0], STEPS[2]]))


def test_a_wrong_suffix(root):
    told(config(root, img_suffix='.png'), "no picture in", "ends in '.png'",
         "6 of its files end in '.jpg', as 0.jpg: set img_suffix")
    told(config(root, seg_map_suffix='_L.png'), '6 of 6 annotations do not exist', '0_L.png',
         "end in '.png', as 0.png: set seg_map_suffix", "seg_map_suffix is '_L.png'")
    (root / 'void').mkdir()
    told(config(root, data_prefix=dict(img_path='void', seg_map_path='labels')),
         'no picture in', 'there is no file in')


def test_a_list_that_names_missing_files(root):
    (root / 'list.txt').write_text('0\n1\n7\n')
    told(config(root, ann_file='list.txt'), '1 of 3 pictures that', 'list.txt', '7.jpg',
         '1 of 3 annotations', '7.png')
    (root / 'list.txt').write_text('0.jpg\n1.jpg\n')
    told(config(root, ann_file='list.txt'), '2 of 2 pictures', '0.jpg.jpg', "img_suffix is '.jpg'")
    (root / 'list.txt').write_text('')
    told(config(root, ann_file='list.txt'), 'list.txt names no picture')
    told(config(root, ann_file='lists.txt'), "did you mean 'list.txt'", 'dataset.ann_file=',
         error=FileNotFoundError)


def test_one_missing_annotation(root):
    (root / 'labels/3.png').unlink()
    told(config(root), '1 of 6 annotations do not exist', '3.png')


# ---- classes ----------------------------------------------------------------------------
@pytest.mark.parametrize('count', [3, 5, 19])
def test_a_student_with_another_number_of_classes(root, count):
    model = tiny_segmentor(num_classes=count, aux=2)
    told(config(root, model), f'model.decode_head.num_classes={count}',
         f'model.auxiliary_head[0].num_classes={count}', 'BaseSegDataset of train_dataloader has 4')
    told(config(root, tiny_distiller('kd', student=model)),
         f'model.student.decode_head.num_classes={count}', 'has 4 classes')
    model = tiny_segmentor(num_classes=4, aux=True)
    model['auxiliary_head']['num_classes'] = count
    assert 'decode_head' not in told(config(root, model), f'auxiliary_head.num_classes={count}')


def test_a_cascade_counts_every_stage(root):
    model = tiny_segmentor(num_classes=4, cascade=True)
    model['decode_head'][1]['num_classes'] = 5
    told(config(root, model), 'model.decode_head[1].num_classes=5')


def test_a_teacher_of_other_classes(root):
    teacher = tiny_segmentor('PSPHead', num_classes=7)
    student = tiny_segmentor(num_classes=4)
    told(config(root, tiny_distiller('kd', student, teacher)), 'teacher.decode_head.num_classes=7',
         'cannot teach')
    terms = dict(head=dict(tap='head', loss=dict(type='mmkd.ATLoss')))
    check_datasets(config(root, tiny_distiller(terms, student, teacher)))  # its features can
    named = tiny_distiller('kd', student, teacher)
    named['teacher'] = dict(a=named['teacher'], b=dict(config=student, allow_random=True))
    named['distillations']['logits']['teacher'] = 'b'
    check_datasets(config(root, named))
    named['distillations']['logits']['teacher'] = 'a'
    told(config(root, named), 'teacher.a.decode_head.num_classes=7')


def test_everything_in_one_message(root):
    cfg = config(root, tiny_distiller('kd', tiny_segmentor(num_classes=3),
                                      tiny_segmentor(num_classes=5)), seg_map_suffix='.gif')
    told(cfg, 'student.decode_head.num_classes=3', 'teacher.decode_head.num_classes=5', '.gif')


@pytest.mark.parametrize('classes, head', [
    (2, dict(num_classes=2, out_channels=1, threshold=0.5)), (2, dict(num_classes=2)),
    (1, dict(num_classes=1, out_channels=1)), (2, dict(num_classes=1, out_channels=1))])
def test_two_classes_in_one_channel(root, classes, head):
    for i in range(6):
        save_mask(root / f'labels/{i}.png', [0, classes - 1])
    model = tiny_segmentor()
    model['decode_head'].update(head)
    check_datasets(config(root, model, metainfo=dict(classes=CLASSES[:classes])))


def test_no_claim_without_classes_and_of_other_datasets(root):
    model = tiny_segmentor(num_classes=9)
    check_datasets(config(root, model, metainfo=None))
    check_datasets(runner_config(model, root))  # a data set that makes its pictures
    mixed = config(root, model)
    mixed.val_dataloader.dataset = dict(mixed.val_dataloader.dataset,
                                        metainfo=dict(classes=CLASSES[:2]))
    with pytest.raises(ValueError) as info:
        check_datasets(mixed)
    assert 'num_classes' not in str(info.value)  # the masks of val have too high values
    del model['decode_head']['num_classes']
    check_datasets(config(root, model))


def test_a_head_for_another_task_is_no_head_of_classes():
    model = dict(decode_head=dict(type='FCNHead', num_classes=4), auxiliary_head=[
        dict(type='STDCHead', num_classes=2), dict(type='mmseg.FCNHead', num_classes=4)])
    assert heads(model, 'm') == {'m.decode_head': 4, 'm.auxiliary_head[1]': 4}


# ---- masks ------------------------------------------------------------------------------
@pytest.mark.parametrize('values, said', [([0, 4], '[4]'), ([9, 200], '[9, 200]')])
def test_a_value_that_is_no_class(root, values, said):
    for i in range(6):
        save_mask(root / f'labels/{i}.png', values)
    told(config(root), f'has the values {said}', '4 classes, 0 to 3 (and 255')


def test_coloured_and_broken_masks(root):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / 'labels/0.png')
    told(config(root), '0.png has shape (8, 8, 3)', 'one number per pixel')
    (root / 'labels/0.png').write_bytes(b'no picture')
    told(config(root), '0.png cannot be read')


def test_zero_that_is_no_class(root):
    for i in range(6):
        save_mask(root / f'labels/{i}.png', [0, 1, 2, 3, 4])
    check_datasets(config(root, reduce_zero_label=True))
    told(config(root), 'has the values [4]')


def test_classes_chosen_from_those_of_a_dataset(root):
    @DATASETS.register_module(force=True)
    class Four(BaseSegDataset):
        METAINFO = dict(classes=CLASSES, palette=[[i, i, i] for i in range(4)])

    check_datasets(config(root, type='mmseg.Four', metainfo=None))
    two = config(root, tiny_segmentor(num_classes=2), type='Four',
                 metainfo=dict(classes=CLASSES[1:3]))
    assert check_datasets(two)[0].classes == 2
    told(config(root, tiny_segmentor(num_classes=2), type='Four',
                metainfo=dict(classes=('road', 'lake'))), 'Four of train', 'not a subset')


def test_a_dataset_of_ones_own_with_other_arguments(root):
    @DATASETS.register_module(force=True)
    class Own(BaseSegDataset):
        def __init__(self, folder, **kwargs):
            super().__init__(data_root=folder, **{**kwargs, 'lazy_init': False})

        def load_data_list(self):
            return [dict(img_path='not a file', index=i) for i in range(3)]

    @DATASETS.register_module(force=True)
    class Closed(BaseSegDataset):
        def __init__(self, folder, pipeline):
            super().__init__(data_root=folder, pipeline=pipeline)

    for kind in ('Own', 'Closed'):
        data = dict(type=kind, folder=str(root), pipeline=STEPS[:1])
        cfg = config(root)
        cfg.train_dataloader.dataset = cfg.val_dataloader.dataset = copy.deepcopy(data)
        check_datasets(Config(cfg.to_dict()))
