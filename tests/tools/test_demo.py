"""The demos as a user runs them, a few iterations long."""
import json
import os
import statistics
import subprocess
import sys

import cv2
import pytest

from mmkd.apis import recipes
from tests.cli import load_tool

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def demo(tmp_path, *args):
    return subprocess.run(
        [sys.executable, os.path.join(ROOT, 'tools', 'demo.py'), '--out', str(tmp_path / 'demo'),
         '--train', '8', '--val', '2', '--scale', '0.004', *args],
        cwd=tmp_path, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_demo_writes_table_results_and_pictures(tmp_path):
    done = demo(tmp_path, '--seeds', '0', '1')
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / 'demo' / 'comparison.json').read_text())
    teacher, student, distilled = results['rows']
    assert [row['model'] for row in results['rows']] == ['teacher', 'student alone', 'cwd']
    assert [[run['seed'] for run in row['runs']]
            for row in results['rows']] == [[0], [0, 1], [0, 1]]
    assert results['metric'] == 'mIoU'
    # The distilled student is the student: same parameters, without connectors or teacher.
    assert distilled['parameters'] == student['parameters'] < teacher['parameters']
    gains = [d - s for d, s in zip(distilled['values'], student['values'], strict=True)]
    assert distilled['gain']['each'] == pytest.approx(gains)
    assert distilled['gain']['mean'] == pytest.approx(statistics.mean(gains))
    table = (tmp_path / 'demo' / 'comparison.md').read_text()
    for row in results['rows']:
        assert f"{row['mean']:.2f}" in table
    assert table in done.stdout
    assert 'time left' in done.stdout or ' left: ' in done.stdout
    picture = cv2.imread(str(tmp_path / 'demo' / 'predictions.png'))
    assert picture.shape[1] > 5 * 256  # five columns
    assert picture.std() > 20  # and something in them
    assert cv2.imread(str(tmp_path / 'demo' / 'curves.png')).std() > 10

    failed = demo(tmp_path, '--seeds', '0', '--recipes', 'nonsense')
    assert failed.returncode == 1
    assert "no recipe 'nonsense'" in failed.stderr
    assert 'Traceback' not in failed.stderr


@pytest.mark.slow
def test_demo_of_detection(tmp_path):
    done = demo(tmp_path, '--task', 'det', '--seeds', '0', '--recipes', 'pkd')
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / 'demo' / 'comparison.json').read_text())
    assert [row['model'] for row in results['rows']] == ['teacher', 'student alone', 'pkd']
    assert results['metric'] == 'coco/bbox_mAP'
    assert (tmp_path / 'demo/data/things/annotations/instances_train2017.json').is_file()
    assert cv2.imread(str(tmp_path / 'demo' / 'predictions.png')).shape[1] > 5 * 160


@pytest.mark.slow
def test_demo_of_lidar_that_teaches_cameras(tmp_path):
    done = demo(tmp_path, '--task', 'det3d', '--seeds', '0', '--recipes', 'bevdistill',
                '--train', '2')
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / 'demo' / 'comparison.json').read_text())
    teacher, student, distilled = results['rows']
    assert [row['model'] for row in results['rows']] == ['teacher', 'student alone', 'bevdistill']
    assert distilled['parameters'] == student['parameters'] != teacher['parameters']
    of_all = 'NuScenes metric/pred_instances_3d_NuScenes/'
    assert results['metric'] == f'{of_all}NDS' and results['beside'] == [f'{of_all}mAP']
    table = (tmp_path / 'demo' / 'comparison.md').read_text()
    assert '| NDS, mean ± std |' in table and '| mAP, mean ± std |' in table
    assert (tmp_path / 'demo/data/drives/v1.0-trainval/sample_annotation.json').is_file()
    assert (tmp_path / 'demo' / 'curves.png').is_file()
    for name, columns in (('predictions', 4), ('features', 4)):
        picture = cv2.imread(str(tmp_path / 'demo' / f'{name}.png'))
        assert picture.shape[1] > columns * 350 and picture.std() > 20


def test_the_recipes_of_the_demos_are_there():
    for task, about in load_tool('demo').TASKS.items():
        assert set(about.recipes) <= set(recipes(task))
