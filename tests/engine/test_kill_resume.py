"""kill -9 in mid-training, resume: the weights of a run that was never interrupted."""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import torch

from mmkd.apis import latest_checkpoint
from mmkd.engine.safe_saving import PatientBackend, WholeFileBackend
from tests.cli import assert_same, command, environment, run, weights_of, write_project

# Dropout in the student, MGD's random masks, CIRKD's queues and a schedule.
TERMS = """
_base_ = 'distill.py'
model = dict(distillations=dict(
    feature=dict(schedule=dict(type='cosine', begin=0, end=8)),
    memory=dict(
        tap='head', student_connector=dict(type='mmkd.ProjectionConnector'), weight=0.1,
        loss=dict(type='mmkd.CIRKDMemoryLoss', pixel_memory_size=50, region_memory_size=20,
                  pixel_contrast_size=64, region_contrast_size=32))))
train_cfg = dict(max_iters=8, val_interval=5)
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=8, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=4, max_keep_ckpts=1))
custom_imports = dict(imports=['slow'])
"""
# Iterations slow enough to be hit in the middle.
SLOW = """
import os, time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Slow(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(float(os.environ.get('SLOW', 0)))
"""


def wait_for(log, pattern, process, seconds=240):
    """Wait until the training has printed ``pattern``."""
    end = time.time() + seconds
    while time.time() < end:
        if re.search(pattern, log.read_text()):
            return
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    raise AssertionError(f'{pattern!r} did not come: {log.read_text()[-3000:]}')


def train_and_kill(folder, config, slow, begun, rest):
    """Train into ``folder/killed``, and kill -9.

    Args:
        slow (str): Seconds of each iteration, for the hook of :data:`SLOW`.
        begun (callable): Waits for what is to be there: ``begun(log, process)``.
        rest (float): Seconds after that.
    """
    log = folder / 'killed.log'
    with log.open('w') as out:
        process = subprocess.Popen(
            command('train.py', config, '--work-dir', 'killed'), cwd=folder, stdout=out,
            stderr=subprocess.STDOUT, env=environment(SLOW=slow, PYTHONPATH=str(folder)))
        begun(log, process)
        time.sleep(rest)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_kill_and_resume_ends_in_the_same_weights(tmp_path):
    project = write_project(tmp_path)
    (project / 'run.py').write_text(TERMS + "custom_hooks = [dict(type='Slow')]\n")
    (project / 'slow.py').write_text(SLOW)
    there = dict(cwd=project, PYTHONPATH=str(project))
    run('train.py', 'run.py', '--work-dir', 'straight', **there)

    # The checkpoint is of iteration 4, the validation after 5; 6 has begun.
    train_and_kill(project, 'run.py', '1.5', lambda log, process: wait_for(
        log, r'Iter\(val\) \[2/2\]', process), 0.3)
    assert (project / 'killed' / 'iter_4.pth').is_file()
    assert not (project / 'killed' / 'iter_8.pth').exists()
    done = run('train.py', 'run.py', '--work-dir', 'killed', '--resume', **there)
    assert 'iter_4.pth' in done.stdout
    a, b = (weights_of(project / name / 'iter_8.pth') for name in ('straight', 'killed'))
    assert any('queue' in key for key in a['state_dict'])
    for part in ('state_dict', 'optimizer', 'param_schedulers', 'random_state'):
        assert_same(a[part], b[part], part)


# ---- a kill while a checkpoint is written -----------------------------------------------
def make_files(folder, *names, note=None):
    folder.mkdir(exist_ok=True)
    for name in names:
        torch.save(dict(x=torch.zeros(1000)), folder / name)
    if note is not None:
        (folder / 'last_checkpoint').write_text(note)


def truncate(path):
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) // 2)


def test_latest_checkpoint(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmkd.apis.resuming.print_log', lambda text, **where: said.append(text))
    work = tmp_path / 'work'
    assert latest_checkpoint(str(work)) is None
    make_files(work, 'iter_4.pth', 'iter_20.pth', 'best_mIoU_iter_99.pth',
               note=str(work / 'iter_4.pth'))
    assert latest_checkpoint(str(work)) == str(work / 'iter_4.pth')
    shutil.move(str(work), str(tmp_path / 'moved'))
    moved = tmp_path / 'moved'
    assert latest_checkpoint(str(moved)) == str(moved / 'iter_4.pth')
    (moved / 'last_checkpoint').write_text('')  # killed while it was rewritten
    assert latest_checkpoint(str(moved)) == str(moved / 'iter_20.pth')
    (moved / 'last_checkpoint').write_text('gone/iter_8.pth')
    assert latest_checkpoint(str(moved)) == str(moved / 'iter_20.pth')
    assert not said
    truncate(moved / 'iter_20.pth')
    assert latest_checkpoint(str(moved)) == str(moved / 'iter_4.pth')
    assert re.search(r'iter_20.pth: truncated; going on from .*iter_4.pth', *said)
    truncate(moved / 'iter_4.pth')
    with pytest.raises(ValueError, match=r'no checkpoint in .*iter_4.pth truncated.*--resume FILE'):
        latest_checkpoint(str(moved))


def test_a_file_appears_when_it_is_complete(tmp_path, monkeypatch):
    backend, path = WholeFileBackend(), tmp_path / 'new' / 'iter_1.pth'
    backend.put(b'first', str(path))
    assert path.read_bytes() == b'first'

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', killed)
    with pytest.raises(KeyboardInterrupt):
        backend.put(b'second', str(path))
    assert path.read_bytes() == b'first' and os.listdir(path.parent) == ['iter_1.pth']
    monkeypatch.undo()
    (tmp_path / 'link').symlink_to(path)
    backend.put(b'third', tmp_path / 'link')
    assert path.read_bytes() == b'third' and (tmp_path / 'link').is_symlink()


def test_old_files_go_after_new_ones_came(tmp_path):
    backend = PatientBackend(WholeFileBackend())
    old, again = tmp_path / 'old.pth', tmp_path / 'again.pth'
    for path in (old, again):
        backend.put(b'1', str(path))
        backend.remove(str(path))
    assert old.exists() and again.exists()
    backend.put(b'2', str(again))  # the same name, written anew
    backend.flush()
    assert not old.exists() and again.read_bytes() == b'2'
    backend.flush()
    assert backend.isfile(str(again))
