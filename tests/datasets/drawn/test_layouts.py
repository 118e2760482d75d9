"""The drawn data sets on disk: mmseg reads them, and other people's files are safe."""
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from PIL import Image

from mmkd.datasets.drawn import write_cityscapes, write_coco, write_voc
from mmkd.datasets.drawn.layouts import voc_palette
from mmkd.datasets.drawn.trees import NOTE

TOOL = Path(__file__).parents[3] / 'tools' / 'make_street_scenes.py'
STREET_IDS, VOC_IDS = {*range(19), 255}, {*range(21), 255}


@pytest.fixture(scope='module')
def cityscapes(tmp_path_factory):
    return write_cityscapes(tmp_path_factory.mktemp('a') / 'streets', train=3, val=2,
                            width=96, height=48, progress=False)


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp('b'), train=3, val=2, aug=1, width=64, height=48,
                     progress=False)


def contents(root):
    """File name -> (bytes, time of writing) of everything under a folder."""
    return {p.relative_to(root).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
            for p in Path(root).rglob('*') if p.is_file()}


def pixels(root):
    return {name: data for name, (data, _) in contents(root).items() if name != NOTE}


def build(name, loader, data_root):
    """A dataset as mmseg's stock base config describes it, with another ``data_root``."""
    import mmseg.datasets  # noqa: F401  (registers the classes)
    from mmseg.registry import DATASETS
    init_default_scope('mmseg')
    config = get_config(f'mmseg::_base_/datasets/{name}.py')[loader].dataset
    for part in config.get('datasets', [config]):
        part.data_root = str(data_root)
    return DATASETS.build(config)


@pytest.mark.parametrize('bad', [dict(width=16), dict(height=2.5), dict(train=0), dict(seed=-1)])
@pytest.mark.parametrize('write', [write_cityscapes, write_coco, write_voc])
def test_bad_arguments_are_named(tmp_path, write, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        write(tmp_path / 'x', progress=False, **bad)
    assert not (tmp_path / 'x').exists()


def test_cityscapes_loads_with_the_stock_config(cityscapes):
    for loader, count in (('train_dataloader', 3), ('val_dataloader', 2)):
        data = build('cityscapes', loader, cityscapes)
        assert len(data) == count
        for i in range(count):
            sample = data[i]
            labels = sample['data_samples'].gt_sem_seg.data
            assert sample['inputs'].shape[0] == 3
            assert set(labels.unique().tolist()) <= STREET_IDS
            # A training crop, drawn at random, may show little; a whole picture does not.
            assert (labels != 255).any() if loader.startswith('train') else \
                len(labels.unique()) > 3
    raw = data.get_data_info(0)
    assert raw['img_path'].endswith('sketchford_000000_000019_leftImg8bit.png')
    assert labels.shape == (1, 48, 96)  # in validation the labels keep their own size


def test_cityscapes_label_ids_follow_the_official_table(cityscapes):
    for path in Path(cityscapes).rglob('*_labelTrainIds.png'):
        train_ids = np.array(Image.open(path))
        ids = np.array(Image.open(str(path).replace('labelTrainIds', 'labelIds')))
        for train_id, label_id in ((0, 7), (1, 8), (2, 11), (10, 23), (13, 26), (18, 33)):
            assert ((train_ids == train_id) == (ids == label_id)).all()


@pytest.mark.parametrize('config, loader, count', [
    ('pascal_voc12', 'train_dataloader', 3), ('pascal_voc12', 'val_dataloader', 2),
    ('pascal_voc12_aug', 'train_dataloader', 4)])
def test_voc_loads_with_the_stock_config(voc, config, loader, count):
    data = build(config, loader, voc)
    assert len(data) == count
    for i in range(count):
        labels = data[i]['data_samples'].gt_sem_seg.data
        assert set(labels.unique().tolist()) <= VOC_IDS
    assert len(labels.unique()) > 1


def test_voc_files(voc):
    root = Path(voc)
    assert root.parts[-2:] == ('VOCdevkit', 'VOC2012')
    lists = {p.stem: p.read_text().split() for p in (root / 'ImageSets/Segmentation').iterdir()}
    assert lists['trainval'] == lists['train'] + lists['val']
    for name in lists['trainval']:
        labels = Image.open(root / 'SegmentationClass' / f'{name}.png')
        assert labels.mode == 'P' and labels.size == (64, 48)
        assert labels.getpalette() == voc_palette().ravel().tolist()
        assert Image.open(root / 'JPEGImages' / f'{name}.jpg').size == (64, 48)


def test_truth_against_itself_scores_100(cityscapes):
    from mmseg.evaluation import IoUMetric
    from mmseg.structures import SegDataSample
    data = build('cityscapes', 'val_dataloader', cityscapes)
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = data.metainfo
    for i in range(len(data)):
        sample: SegDataSample = data[i]['data_samples']
        sample.pred_sem_seg = sample.gt_sem_seg.clone()
        metric.process({}, [sample.to_dict()])
    scores = metric.evaluate(len(data))
    assert scores['mIoU'] == 100 and scores['aAcc'] == 100


@pytest.mark.parametrize('write', [write_cityscapes, write_coco, write_voc])
def test_two_runs_same_files(tmp_path, write):
    options = dict(train=2, val=1, width=48, height=40, progress=False)
    a, b, c = (write(tmp_path / name, seed=seed, **options)
               for name, seed in (('a', 3), ('b', 3), ('c', 4)))
    assert pixels(a) == pixels(b)
    assert pixels(a).keys() == pixels(c).keys() and pixels(a) != pixels(c)


def test_pictures_do_not_depend_on_how_many_there_are(tmp_path):
    a = pixels(write_cityscapes(tmp_path / 'a', 2, 1, 48, 40, progress=False))
    b = pixels(write_cityscapes(tmp_path / 'b', 1, 2, 48, 40, progress=False))
    shared = a.keys() & b.keys()
    assert len(shared) == 6 and all(a[name] == b[name] for name in shared)


@pytest.mark.parametrize('write', [write_cityscapes, write_coco, write_voc])
def test_finished_tree_is_kept_and_half_written_one_redone(tmp_path, write):
    options = dict(train=2, val=1, width=48, height=40, progress=False)
    root = Path(write(tmp_path / 'a', **options))
    whole = contents(root)
    write(tmp_path / 'a', **options)
    assert contents(root) == whole  # not even the times of writing changed

    note = json.loads((root / NOTE).read_text())
    (root / NOTE).write_text(json.dumps(dict(note, finished=False)))
    victim = next(root.rglob('*2017/*.jpg' if write is write_coco else '*.png'))
    victim.write_bytes(b'cut short')
    write(tmp_path / 'a', **options)
    assert {k: v[0] for k, v in contents(root).items()} == {k: v[0] for k, v in whole.items()}

    victim.unlink()  # the note says finished, a file is gone
    write(tmp_path / 'a', **options)
    assert victim.is_file()


def test_other_parameters_replace_our_own_files_only(tmp_path):
    root = Path(write_cityscapes(tmp_path / 'a', 3, 1, 48, 40, progress=False))
    write_cityscapes(root, 2, 1, 48, 40, seed=1, progress=False)
    assert len(list(root.rglob('*_leftImg8bit.png'))) == 3
    mine = root / 'leftImg8bit' / 'train' / 'drawburg' / 'holiday.png'
    mine.write_bytes(b'precious')
    before = contents(root)
    with pytest.raises(ValueError, match='holiday'):
        write_cityscapes(root, 1, 1, 48, 40, progress=False)
    assert contents(root) == before


@pytest.mark.parametrize('note', [None, '{}', 'not json', '[1]'])
def test_foreign_data_is_never_touched(tmp_path, note):
    real = tmp_path / 'leftImg8bit' / 'train' / 'aachen' / 'aachen_000000_000019_leftImg8bit.png'
    real.parent.mkdir(parents=True)
    real.write_bytes(b'the real thing')
    if note is not None:
        (tmp_path / NOTE).write_text(note)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match='other files'):
        write_cityscapes(tmp_path, 1, 1, 48, 40, progress=False)
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match='this is a file'):
        write_cityscapes(real, 1, 1, 48, 40, progress=False)


def test_command(tmp_path):
    def run(*words):
        return subprocess.run([sys.executable, str(TOOL), *map(str, words)], text=True,
                              capture_output=True, check=False)

    done = run('voc', tmp_path, '--train', 2, '--val', 1, '--aug', 1, '--size', '48x40')
    assert done.returncode == 0, done.stderr
    assert f"data_root='{tmp_path}/VOCdevkit/VOC2012'" in done.stdout
    assert len(list(tmp_path.rglob('*.jpg'))) == 4


@pytest.mark.parametrize('words, told', [
    (['atlas', 'x'], 'atlas'), (['voc'], 'root'), (['voc', 'x', '--size', 'big'], 'WIDTHxHEIGHT'),
    (['cityscapes', 'x', '--aug', '3'], '--aug'), (['voc', 'x', '--classes', 'cat'], '--classes'),
    (['coco', 'x', '--classes', 'unicorn'], 'unicorn'),
    (['cityscapes', 'x', '--train', '0'], 'train=0'),
    (['cityscapes', 'x', '--size', '8x8'], 'width=8')])
def test_command_refuses_bad_arguments(words, told, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location('make_street_scenes', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        tool.main(words)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
