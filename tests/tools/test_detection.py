"""The tools on a detector of mmdet, as a user runs them."""
import glob
import json
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from mmkd.results.comparison.metric import choose
from mmkd.utils.configs import read_config
from mmkd.visualization.predictions import draw_predictions
from mmkd.visualization.sheets import GAP, TITLE, WIDTH
from tests.cli import environment, run, weights_of
from tests.detection_project import NAMES, write_detection_project


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """Data, configs, and the distilled student after two iterations (``trained/``)."""
    folder = write_detection_project(tmp_path_factory.mktemp('detection'))
    run('train.py', 'distill.py', '--work-dir', 'trained', '--cfg-options',
        'train_cfg.max_iters=2', 'train_cfg.val_interval=2', cwd=folder)
    return folder


def test_check_describes_a_training(project, here):
    out, _ = here.run('train.py', 'distill.py', '--check', cwd=project)
    assert out.count('GFL (ResNet, FPN, GFLHead)') == 2
    assert 'PKDLoss for each level, weight 1' in out and '2 x 16 x 8 x 12' in out
    assert 'CocoDataset, 8 pictures, 3 classes' in out
    assert 'loss_dfl' in out and '2 of 3 x 64 x 96' in out


def test_check_tells_what_does_not_fit(project, here):
    message = here.fails('train.py', 'student.py', '--check', '--cfg-options',
                         'model.bbox_head.num_classes=80', cwd=project)
    assert 'model.bbox_head.num_classes=80, but CocoDataset of train_dataloader has 3' in message


def test_a_training_logs_what_its_data_lose(project, here, tmp_path):
    path = project / 'data/annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['bbox'] = [3, 3, 0, 9]
    (path.parent / 'lost.json').write_text(json.dumps(content))
    here.run('train.py', 'student.py', '--work-dir', tmp_path / 'work', '--cfg-options',
             'train_dataloader.dataset.ann_file=annotations/lost.json', 'val_cfg=None',
             'val_dataloader=None', 'val_evaluator=None', 'train_cfg.max_iters=1', cwd=project)
    log, = (tmp_path / 'work').glob('*/*.log')
    assert f"1 of {len(content['annotations'])} annotations are not used" in log.read_text()


def test_painted_pictures_keep_their_names(project, here, tmp_path):
    here.run('test.py', 'distill.py', 'trained/iter_2.pth', '--show-dir', tmp_path / 'shown',
             '--work-dir', tmp_path / 'work', cwd=project)
    shown = {path.name for path in (tmp_path / 'shown').glob('*.jpg')}
    assert shown == {f'{i + 1:012d}.jpg' for i in range(3)}
    picture = cv2.imread(str(tmp_path / 'shown/000000000001.jpg'))
    assert picture.shape == (64, 2 * 96, 3)  # ground truth and prediction


def test_predictions_are_saved(project, here, tmp_path):
    here.run('test.py', 'distill.py', 'trained/iter_2.pth', '--out', tmp_path / 'out',
             '--work-dir', tmp_path / 'work', cwd=project)
    boxes = json.loads((tmp_path / 'out/predictions.bbox.json').read_text())
    assert boxes and {box['image_id'] for box in boxes} <= {1, 2, 3}
    (project / 'voc.py').write_text(
        "_base_ = 'student.py'\n"
        "test_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP')\n")
    here.run('test.py', 'voc.py', 'trained/iter_2.pth', '--out', tmp_path / 'other',
             '--work-dir', tmp_path / 'work', cwd=project)
    with open(tmp_path / 'other/predictions.pkl', 'rb') as file:
        assert len(pickle.load(file)) == 3


def test_models_are_drawn_beside_the_truth(project, tmp_path):
    cfg = read_config(str(project / 'student.py'))
    models = {'student': (cfg, str(project / 'trained/iter_2.pth'))}
    cfg.visualizer = dict(cfg.visualizer, line_width=2)
    sheet = cv2.imread(draw_predictions(str(tmp_path / 'drawn.png'), cfg, models, 'val', 3))
    columns = [part[TITLE:].astype(int) for part in np.split(sheet, 3, axis=1)]
    assert columns[0].shape[1] == WIDTH + GAP
    boxes = json.loads((project / 'data/annotations/instances_val2017.json').read_text())
    x, y, w, h = boxes['annotations'][0]['bbox']
    assert boxes['annotations'][0]['image_id'] == 1
    changed = np.abs(columns[1] - columns[0]).sum(-1)[:, :WIDTH] > 60
    scale = WIDTH / 96
    side = changed[round((y + h / 2) * scale), :]
    assert side[max(round(x * scale) - 8, 0):round(x * scale) + 8].any()  # the box's left side
    assert changed.mean() < 0.5


STOCK = """
import json, sys, torch
from mmdet.apis import inference_detector, init_detector
config, checkpoint, image, output = sys.argv[1:]
model = init_detector(config, checkpoint, device='cpu')
missing, extra = model.load_state_dict(torch.load(checkpoint)['state_dict'], strict=False)
found = inference_detector(model, image).pred_instances
torch.save(dict(boxes=found.bboxes, scores=found.scores, labels=found.labels), output)
print(json.dumps(dict(missing=missing, extra=extra, mmkd='mmkd' in sys.modules,
                      classes=model.dataset_meta['classes'])))
"""


def stock_boxes(folder, config, checkpoint, image):
    """What plain mmdet predicts in a fresh process, without mmkd."""
    done = subprocess.run(
        [sys.executable, '-c', STOCK, config, checkpoint, image, f'{folder}/boxes.pt'],
        cwd=folder, env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(f'{folder}/boxes.pt'), json.loads(done.stdout.splitlines()[-1])


def test_an_exported_student_is_one_of_mmdet(project, here, tmp_path):
    here.run('export_student.py', 'distill.py', 'trained/iter_2.pth', '--out', tmp_path,
             cwd=project)
    (weights,), (exported,) = (glob.glob(f'{tmp_path}/*.{end}') for end in ('pth', 'py'))
    image = str(next((project / 'data/val2017').iterdir()))
    ours, state = stock_boxes(tmp_path, exported, weights, image)
    assert state == dict(missing=[], extra=[], mmkd=False, classes=list(NAMES))
    assert len(ours['boxes']) > 0
    straight, state = stock_boxes(tmp_path, str(project / 'student.py'),
                                  str(project / 'trained/iter_2.pth'), image)
    assert state['missing'] == [] and not state['mmkd']
    for key in ours:
        assert torch.equal(ours[key], straight[key])
    trained = weights_of(project / 'trained/iter_2.pth')['state_dict']
    assert set(weights_of(weights)['state_dict']) == {
        key for key in trained if not key.startswith('distiller.')}


@pytest.mark.parametrize('metrics, usual', [
    (dict.fromkeys(['coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP']), 'coco/bbox_mAP'),
    (dict.fromkeys(['pascal_voc/mAP', 'pascal_voc/AP50']), 'pascal_voc/mAP')])
def test_the_metric_that_is_compared(metrics, usual):
    assert choose(metrics) == usual
    assert choose(metrics, 'AP50' if 'pascal' in usual else 'bbox_mAP_50') == list(metrics)[1]
    with pytest.raises(ValueError, match='did you mean'):
        choose(metrics, 'bbox_mAP_5' if 'coco' in usual else 'AP51')


@pytest.mark.slow
def test_a_comparison_of_detectors(project):
    done = run('compare.py', '--student', 'student.py', '--teacher', 'teacher.py',
               '--teacher-checkpoint', 'teacher.pth', '--recipes', 'recipe.py', '--seeds', '0',
               '--out', 'compared', '--pictures', '1', '--cfg-options', 'train_cfg.max_iters=2',
               'train_cfg.val_interval=1', cwd=project)
    results = json.loads((project / 'compared/comparison.json').read_text())
    assert results['metric'] == 'coco/bbox_mAP'
    assert [row['model'] for row in results['rows']] == ['teacher', 'student alone', 'recipe']
    parameters = [row['parameters'] for row in results['rows']]
    assert parameters[1] == parameters[2]
    for row in results['rows']:
        (value,) = row['values']
        assert 0 <= value < 1 and f'{value:.4f}' in done.stdout
    picture = cv2.imread(str(project / 'compared/predictions.png'))
    assert picture.shape[1] == 5 * (WIDTH + GAP)
    assert (project / 'compared/curves.png').exists()
