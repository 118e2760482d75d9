"""The demo as a user runs it, a few iterations long."""
import json
import os
import subprocess
import sys

import cv2
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def demo(tmp_path, *args):
    return subprocess.run(
        [sys.executable, os.path.join(ROOT, 'tools', 'demo.py'), '--out', str(tmp_path / 'demo'),
         '--train', '8', '--val', '2', '--scale', '0.004', *args],
        cwd=tmp_path, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_demo_writes_table_results_and_picture(tmp_path):
    done = demo(tmp_path, '--seeds', '0', '1')
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / 'demo' / 'results.json').read_text())['rows']
    assert [row['model'] for row in rows] == ['teacher', 'student', 'distilled']
    assert [row['seeds'] for row in rows] == [[0], [0, 1], [0, 1]]
    teacher, student, distilled = rows
    # The distilled student is the student: same parameters, without connectors or teacher.
    assert distilled['parameters'] == student['parameters'] < teacher['parameters']
    assert distilled['gains'] == pytest.approx(
        [d - s for d, s in zip(distilled['mious'], student['mious'], strict=True)])
    table = (tmp_path / 'demo' / 'results.md').read_text()
    for row in rows:
        assert f"{row['mean']:.2f}" in table
    assert table in done.stdout
    assert 'time left' in done.stdout or 'left:' in done.stdout
    picture = cv2.imread(str(tmp_path / 'demo' / 'comparison.png'))
    assert picture.shape[1] > 5 * 256  # five columns
    assert picture.std() > 20  # and something in them


@pytest.mark.slow
def test_demo_with_another_recipe_and_a_failing_one(tmp_path):
    done = demo(tmp_path, '--seeds', '0', '--recipe', 'mgd')
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / 'demo' / 'distilled_seed0' / 'train.log').read_text()
    assert 'loss_feature' in log
    failed = demo(tmp_path, '--seeds', '0', '--recipe', 'nonsense')
    assert failed.returncode == 1
    assert "no recipe 'nonsense'" in failed.stderr
    assert 'Traceback' not in failed.stderr
