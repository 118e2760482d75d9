"""The benchmark scripts run and judge honestly."""
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, 'benchmarks')


def results():
    folder = os.path.join(FOLDER, 'results')
    return {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}


@pytest.mark.parametrize('script, only, row', [
    ('ops.py', 'gaussian_heatmap', r'\| draw_gaussian_heatmap \|.*\| 0\.02 (met|MISSED) \|'),
    ('ops.py', 'unique', r'\| unique voxels, inverse, order \| 243,000 points \|.*\| 0\.01 '),
    ('losses.py', 'KD', r'\| KD 19ch 2x19x16x16 \|'),
    ('bev_step.py', 'unidistill', r'\| unidistill \| 1 \|.* % \| 3 % (met|MISSED) \|'),
])
def test_quick_run_prints_its_row_and_writes_nothing(script, only, row):
    before = results()
    done = subprocess.run([sys.executable, script, '--quick', '--only', only], cwd=FOLDER,
                          text=True, capture_output=True, check=False,
                          env=os.environ | {'PYTHONPATH': ROOT})
    assert done.returncode == 0, done.stderr
    assert re.search(row, done.stdout), done.stdout
    assert results() == before


def test_a_target_is_met_or_missed_by_its_number(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from op_table import row, verdict
    assert [verdict(v, 0.5) for v in (0.49, 0.5, 0.51)] == ['0.5 met', '0.5 met', '0.5 MISSED']
    assert verdict(None, 0.5) == verdict(0.1, None) == ''
    case = dict(name='x', size='9 points', baseline='y', ours_ms=1., theirs_ms=4.,
                theirs_ratio=0.25, target=0.2, copy_new_ratio=1.6, copy_old_ratio=3.,
                memcpy_target=1.5)
    assert row(case) == '| x | 9 points | y | 1.00 / 4.00 | 0.2500 | 0.2 MISSED | 1.60 ' \
                        '| 1.5 MISSED | 3.00 |'


@pytest.mark.parametrize('out', [['--out', '/a/folder'], ['--out=/a/folder']])
def test_the_recorded_command_names_no_folder_of_one_machine(monkeypatch, out):
    monkeypatch.syspath_prepend(FOLDER)
    from common import head
    monkeypatch.setattr(sys, 'argv', ['ops.py', '--only', 'knn', *out, '--scales', '1'])
    assert head('cpu')['command'] == 'python ops.py --only knn --scales 1'
