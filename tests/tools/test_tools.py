"""The tools, run as a user runs them."""
import glob
import json
import os
import re
import shutil
import subprocess

import pytest
import torch

from tests.cli import ROOT, fails, free_port, run, weights_of, write_project

TOOLS = ['train.py', 'test.py', 'export_student.py', 'browse_taps.py', 'make_street_scenes.py',
         'make_nuscenes.py']
TERMS = ['loss_feature', 'loss_logits']


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A data set, configs, and one training (``trained/``) started from another folder."""
    folder = write_project(tmp_path_factory.mktemp('project'))
    run('train.py', folder / 'distill.py', '--work-dir', folder / 'trained', cwd='/')
    return folder


def scalars(work_dir):
    """The logged lines of the last run in a work dir."""
    file = sorted(glob.glob(f'{work_dir}/*/vis_data/scalars.json'))[-1]
    with open(file) as lines:
        return [json.loads(line) for line in lines]


# ---- help and arguments -----------------------------------------------------------------
@pytest.mark.parametrize('tool', TOOLS)
def test_help(tool, tmp_path):
    done = run(tool, '--help', cwd=tmp_path)
    assert 'usage:' in done.stdout and len(done.stdout.splitlines()) > 8
    assert not re.search(r'Warning|Traceback', done.stderr)
    # Every option says what it is for.
    options = re.findall(r'^  (-.*(?:\n {10,}\S.*)*)', done.stdout, re.MULTILINE)
    assert [o for o in options if not re.search(r'\s{2,}\S+ ', o)] == []


@pytest.mark.parametrize('tool, args', [
    ('train.py', []), ('train.py', ['--student', 'a.py']),
    ('train.py', ['a.py', '--recipe', 'cwd']), ('train.py', ['a.py', '--no-such-option']),
    ('test.py', ['a.py']), ('export_student.py', ['a.py']), ('browse_taps.py', []),
    ('browse_taps.py', ['a.py', '--depth', 'deep'])])
def test_bad_arguments_exit_with_2(tool, args, here, tmp_path):
    _, stderr = here.run(tool, *args, cwd=tmp_path, code=2)
    assert 'usage:' in stderr and 'error:' in stderr


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_say_how_they_are_used(script, tmp_path):
    assert script in run(script, cwd=tmp_path, code=2).stderr
    assert script in run(script, '--help', cwd=tmp_path).stdout
    if shutil.which('bash'):
        subprocess.run(['bash', '-n', os.path.join(ROOT, 'tools', script)], check=True)


# ---- mistakes ---------------------------------------------------------------------------
def test_mistakes_before_training(project, here, tmp_path):
    there = dict(cwd=project)
    assert "config 'distil.py' does not exist; did you mean 'distill.py'" in fails(
        'train.py', 'distil.py', **there)
    assert "there is no recipe 'cdw'" in here.fails(
        'train.py', '--student', 'student.py', '--teacher', 'teacher.py', '--recipe', 'cdw',
        **there)
    assert 'teacher has no weights' in here.fails(
        'train.py', '--student', 'student.py', '--teacher', 'teacher.py', '--recipe', 'cwd',
        '--work-dir', tmp_path, **there)
    assert re.search("checkpoint .*nothing.pth' does not exist", here.fails(
        'train.py', 'distill.py', '--resume', 'nothing.pth', '--work-dir', tmp_path, **there))
    with open(project / 'trained' / 'iter_4.pth', 'rb') as file:
        (tmp_path / 'half.pth').write_bytes(file.read()[:20000])
    assert 'truncated or not a torch checkpoint' in here.fails(
        'test.py', 'distill.py', tmp_path / 'half.pth', **there)
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    assert 'is no config that mmengine can read' in here.fails(
        'train.py', tmp_path / 'broken.py', **there)
    (tmp_path / 'empty.py').write_text('x = 1\n')
    for tool, more in (('train.py', []), ('test.py', [project / 'trained' / 'iter_4.pth']),
                       ('export_student.py', [project / 'trained' / 'iter_4.pth']),
                       ('browse_taps.py', [])):
        assert 'no model' in here.fails(tool, tmp_path / 'empty.py', *more, **there)


def test_missing_data_set(project, here, tmp_path):
    message = here.fails('train.py', 'distill.py', '--work-dir', tmp_path, '--cfg-options',
                         'train_dataloader.dataset.data_root=nowhere/cityscapes', cwd=project)
    for part in (str(project / 'nowhere' / 'cityscapes'), 'train_dataloader', 'gtFine_trainvaltest',
                 'make_street_scenes.py cityscapes nowhere/cityscapes', '--cfg-options'):
        assert part in message
    message = here.fails('test.py', 'distill.py', project / 'trained' / 'iter_4.pth',
                         '--cfg-options', 'test_dataloader.dataset.data_root=nowhere', cwd=project)
    assert 'test_dataloader' in message


def test_a_mistake_in_the_terms(project, here, tmp_path):
    message = here.fails('train.py', 'distill.py', '--work-dir', tmp_path, '--cfg-options',
                         'model.distillations.logits.tap=decode_head.conv_sge',
                         'model.distillations.feature.loss.alpha=1', cwd=project)
    assert "term 'logits'" in message and "'decode_head.conv_seg'" in message
    assert "term 'feature'" in message and "'alpha'" in message


def test_debug_shows_the_traceback(tmp_path):
    done = run('train.py', 'nothing.py', '--debug', cwd=tmp_path, code=1)
    assert 'Traceback' in done.stderr and 'FileNotFoundError' in done.stderr


# ---- training and testing ---------------------------------------------------------------
def test_training_logs_every_term(project):
    lines = [line for line in scalars(project / 'trained') if 'loss' in line]
    assert [line['step'] for line in lines] == [1, 2, 3, 4]
    assert all({*TERMS, 'decode.loss_ce'} <= set(line) for line in lines)
    assert (project / 'trained' / 'distill.py').is_file()


def test_test_gives_the_miou_of_the_last_validation(project, tmp_path):
    expected = [line['mIoU'] for line in scalars(project / 'trained') if 'mIoU' in line][-1]
    (project / 'teacher.pth').rename(project / 'hidden.pth')  # testing needs no teacher
    try:
        run('test.py', project / 'distill.py', project / 'trained' / 'iter_4.pth',
            '--work-dir', tmp_path, '--out', tmp_path / 'out', '--show-dir', tmp_path / 'painted',
            cwd=tmp_path)
    finally:
        (project / 'hidden.pth').rename(project / 'teacher.pth')
    result = json.load(open(glob.glob(f'{tmp_path}/*/*.json')[0]))
    assert result['mIoU'] == expected
    assert len(os.listdir(tmp_path / 'out')) == 2
    assert len(list((tmp_path / 'painted').rglob('*.png'))) == 2


def test_training_without_a_config_file(project, tmp_path):
    args = ['--student', 'student.py', '--teacher', 'teacher.py', '--teacher-checkpoint',
            'teacher.pth', '--recipe', 'mgd', '--work-dir', tmp_path / 'a']
    run('train.py', *args, cwd=project)
    wanted = weights_of(project / 'trained' / 'iter_4.pth')['state_dict']
    got = weights_of(tmp_path / 'a' / 'iter_4.pth')['state_dict']
    assert [key for key in wanted if not torch.equal(wanted[key], got[key])] == []
    # The config that was written trains the same again, from another folder.
    run('train.py', tmp_path / 'a' / 'mgd_student.py', '--work-dir', tmp_path / 'b', cwd=tmp_path)
    again = weights_of(tmp_path / 'b' / 'iter_4.pth')['state_dict']
    assert [key for key in wanted if not torch.equal(wanted[key], again[key])] == []


def test_options_of_training(project, tmp_path):
    run('train.py', 'distill.py', '--work-dir', tmp_path, '--cfg-options',
        'train_cfg.max_iters=6', 'model.distillations.logits.weight=0.5',
        '--resume', project / 'trained' / 'iter_2.pth', cwd=project)
    lines = [line for line in scalars(tmp_path) if 'loss' in line]
    assert [line['step'] for line in lines] == [3, 4, 5, 6]
    first = [line for line in scalars(project / 'trained') if line['step'] == 3][0]
    assert lines[0]['loss_logits'] == pytest.approx(first['loss_logits'] / 6, rel=1e-5)


def test_resume_without_a_checkpoint_starts(project, tmp_path):
    done = run('train.py', 'distill.py', '--resume', '--work-dir', tmp_path,
               '--cfg-options', 'train_cfg.max_iters=1', cwd=project)
    assert 'training starts from the beginning' in done.stdout


# ---- several processes ------------------------------------------------------------------
@pytest.mark.slow
def test_two_processes(project, tmp_path):
    run('dist_train.sh', 'distill.py', 2, '--work-dir', tmp_path / 'work', '--cfg-options',
        'train_dataloader.batch_size=1', cwd=project, PORT=free_port())
    lines = scalars(tmp_path / 'work')
    assert [line['step'] for line in lines if 'loss' in line] == [1, 2, 3, 4]
    args = ['distill.py', tmp_path / 'work' / 'iter_4.pth']
    run('dist_test.sh', *args, 2, '--work-dir', tmp_path / 'two', cwd=project, PORT=free_port())
    run('test.py', *args, '--work-dir', tmp_path / 'one', cwd=project)
    two, one = (json.load(open(glob.glob(f'{tmp_path}/{name}/*/*.json')[0]))
                for name in ('two', 'one'))
    assert two['mIoU'] == one['mIoU']
    saved = weights_of(tmp_path / 'work' / 'iter_4.pth')['state_dict']
    assert not any('module.' in key or 'teacher' in key for key in saved)


def test_slurm_command_line(tmp_path):
    """With an ``srun`` that prints what it is given."""
    fake = tmp_path / 'bin' / 'srun'
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    fake.chmod(0o755)
    path = f'{fake.parent}:{os.environ["PATH"]}'
    done = run('slurm_train.sh', 'gpu', 'my job', 'a config.py', '--amp', cwd=tmp_path, PATH=path,
               GPUS='16', SRUN_ARGS='--time 10:00', PYTHON='my-python')
    words = done.stdout.splitlines()
    assert words[:words.index('my-python')] == [
        '--partition=gpu', '--job-name=my job', '--gres=gpu:8', '--ntasks=16',
        '--ntasks-per-node=8', '--cpus-per-task=5', '--kill-on-bad-exit=1', '--time', '10:00']
    assert words[words.index('my-python'):] == [
        'my-python', '-u', f'{ROOT}/tools/train.py', 'a config.py', '--amp', '--launcher', 'slurm']
    few = run('slurm_train.sh', 'gpu', 'job', '--student', 'x', cwd=tmp_path, PATH=path, GPUS='2')
    assert '--gres=gpu:2' in few.stdout and '--ntasks=2' in few.stdout
