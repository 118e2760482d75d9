"""tools/compare.py as a user runs it: killed in the middle, started again, one recipe failing."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import cv2
import pytest

from mmkd.apis import config_root
from tests.cli import assert_same, command, environment, run, weights_of, write_project
from tests.engine.test_kill_resume import SLOW

STUDENT = """
_base_ = 'student.py'
custom_imports = dict(imports=['slow'])
custom_hooks = [dict(type='Slow')]
train_cfg = dict(max_iters=8, val_interval=8)
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=8, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=1))
"""


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_one_failure_stops_nothing_else(tmp_path):
    project = write_project(tmp_path)
    (project / 'slow.py').write_text(SLOW)
    (project / 'short.py').write_text(STUDENT)
    (project / 'wrong.py').write_text(
        f"_base_ = {os.path.join(config_root(), '_base_', 'recipes', 'seg', 'kd.py')!r}\n"
        "distillations = dict(logits=dict(tap='no.such.module'))\n")
    words = ['--student', 'short.py', '--teacher', 'teacher.py', '--teacher-checkpoint',
             'teacher.pth', '--recipes', 'mgd', 'wrong.py', '--seeds', '3', '--out', 'out',
             '--jobs', '2', '--pictures', '2']
    there = dict(cwd=project, PYTHONPATH=os.pathsep.join([str(project), *sys.path]))
    out = project / 'out'

    said = project / 'killed.log'
    with open(said, 'w') as log:
        process = subprocess.Popen(
            command('compare.py', *words), cwd=project, stdout=log, stderr=subprocess.STDOUT,
            env=environment(SLOW='1.5', PYTHONPATH=there['PYTHONPATH']), start_new_session=True)
        end = time.time() + 300
        while not (out / 'mgd' / 'seed3' / 'iter_4.pth').exists():
            assert process.poll() is None and time.time() < end, said.read_text()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (out / 'mgd' / 'seed3' / 'iter_8.pth').exists()

    done = run('compare.py', *words, code=1, **there)
    assert re.search(r'error: wrong seed 3: failed \(exit code 1\); the end of .*train.log:.*'
                     r'no.such.module', done.stderr, re.DOTALL)
    assert 'Traceback' not in done.stderr and 'Not finished: wrong seed 3.' in done.stdout
    results = json.loads((out / 'comparison.json').read_text())
    rows = {row['model']: row for row in results['rows']}
    assert list(rows) == ['teacher', 'student alone', 'mgd', 'wrong']
    assert [len(rows[name]['values']) for name in rows] == [1, 1, 1, 0]
    assert rows['wrong']['gain'] is None and rows['mgd']['gain']['n'] == 1
    assert cv2.imread(str(out / 'predictions.png')).std() > 10
    assert cv2.imread(str(out / 'curves.png')).std() > 5

    # Resumed exactly: the recorded command, never interrupted, ends in the same weights.
    noted = json.loads((out / 'mgd' / 'seed3' / 'run.json').read_text())
    assert len(noted['sessions']) == 2
    straight = shlex.split(rows['mgd']['runs'][0]['command'])
    assert straight[1] == os.path.join('tools', 'train.py')  # as typed in the clone's folder
    straight[:2] = command('train.py')
    straight[-1] = 'straight'
    subprocess.run(straight, cwd=project, check=True, capture_output=True,
                   env=environment(PYTHONPATH=there['PYTHONPATH'],
                                   OMP_NUM_THREADS=str(noted['threads'])))
    a, b = (weights_of(folder / 'iter_8.pth') for folder in (out / 'mgd' / 'seed3',
                                                            project / 'straight'))
    for part in ('state_dict', 'optimizer', 'random_state'):
        assert_same(a[part], b[part], part)

    # What is finished is kept.
    before = {path: path.stat().st_mtime_ns for path in out.glob('*/seed3/iter_8.pth')}
    assert len(before) == 2
    (project / 'wrong.py').write_text('_base_ = ' + repr(os.path.join(
        config_root(), '_base_', 'recipes', 'seg', 'kd.py')) + '\n')
    changed = run('compare.py', *words, code=1, **there)
    assert re.search(r'wrong/seed3: model.distillations.logits.tap: .no.such.module. instead of '
                     r'.logits.', changed.stderr)
    assert before == {path: path.stat().st_mtime_ns for path in before}
