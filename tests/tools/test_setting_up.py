"""What train.py says and does before the first iteration, and after Ctrl-C."""
import re

import pytest
import torch

from tests.cli import run, weights_of, write_project

STOP = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class StopHook(Hook):
    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == self.at:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
            os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp('setting_up'))
    (folder / 'stop_hook.py').write_text(STOP)
    return folder


def test_what_matters_comes_after_the_config(project, here, tmp_path):
    short = ['--resume', '--cfg-options', 'train_cfg.max_iters=2', '--work-dir', tmp_path]
    out = here.run('train.py', 'distill.py', *short, cwd=project)[0]
    dump, note = out.index('Config:'), out.index('training starts from the beginning')
    assert dump < out.index("term 'logits'") and dump < note < out.index('Iter(train)')
    (log,) = tmp_path.rglob('*.log')
    assert 'training starts from the beginning' in log.read_text()
    (tmp_path / 'iter_4.pth').write_bytes((tmp_path / 'iter_2.pth').read_bytes()[:9000])
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_4.pth'))
    short[2] = 'train_cfg.max_iters=3'
    out = here.run('train.py', 'distill.py', *short, cwd=project)[0]
    assert out.index('Config:') < out.index('truncated; going on from') < out.index('Iter(train)')


@pytest.mark.parametrize('change', [
    'model.distillations.logits.tap=nowhere', 'model.student.backbone.depth=17',
    'model.teacher.checkpoint=student.py', 'load_from=nothing.pth'])
def test_a_refusal_comes_before_anything_is_written(project, here, tmp_path, change):
    work = tmp_path / 'work'
    out, err = here.run('train.py', 'distill.py', '--work-dir', work, '--cfg-options', change,
                        cwd=project, code=1)
    assert not work.exists() and 'Config:' not in out + err and err.count('error:') == 1


def test_resuming_another_training_is_refused_before(project, here, tmp_path):
    options = ['--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_iters=1']
    here.run('train.py', 'distill.py', *options, cwd=project)
    before = sorted(tmp_path.rglob('*'))
    for more in (['--resume'], ['--resume', tmp_path / 'iter_1.pth']):
        assert 'has no distiller' in here.fails('train.py', 'student.py', *more, *options,
                                                cwd=project)
    assert 'has no distiller' in here.fails('train.py', 'student.py', *options, 'resume=True',
                                            cwd=project)
    assert sorted(tmp_path.rglob('*')) == before


def test_a_folder_that_cannot_be_written(project, here, tmp_path):
    (tmp_path / 'file').write_text('')
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'work', '/proc/work'):
        text = here.fails('train.py', 'distill.py', '--work-dir', folder, cwd=project)
        assert f"'{folder}' cannot be written" in text and '--work-dir' in text
    torch.save(dict(x=torch.zeros(1)), tmp_path / 'x.pth')
    for tool, option in (('export_student.py', '--out'), ('test.py', '--out'),
                         ('test.py', '--show-dir')):
        text = here.fails(tool, 'distill.py', tmp_path / 'x.pth', option, '/proc/x', cwd=project)
        assert "'/proc/x' cannot be written" in text and option in text


def test_mixed_precision_on_any_machine(project, here, tmp_path):
    for name, more in (('option', ['--amp', '--cfg-options']),
                       ('config', ['--cfg-options', 'optim_wrapper.type=AmpOptimWrapper'])):
        out = here.run('train.py', 'distill.py', '--work-dir', tmp_path / name, *more,
                       'train_cfg.max_iters=1', cwd=project)[0]
        record = (tmp_path / name / 'distill.py').read_text()
        if torch.cuda.is_available():
            assert "type='AmpOptimWrapper'" in record
        else:
            assert out.count('mixed precision on a CPU: bfloat16 autocast') == 1
            assert "type='mmkd.Bfloat16OptimWrapper'" in record
    text = here.fails('train.py', 'distill.py', '--amp', '--work-dir', tmp_path / 'none',
                      '--cfg-options', 'optim_wrapper.type=ApexOptimWrapper', cwd=project)
    assert "'ApexOptimWrapper'" in text


def test_seed(project, here, tmp_path):
    for name, args in (('option', ['--seed', 7, '--cfg-options']),
                       ('config', ['--cfg-options', 'randomness.seed=7'])):
        here.run('train.py', 'distill.py', '--work-dir', tmp_path / name, *args,
                 'train_cfg.max_iters=1', cwd=project)
        assert re.search(r'randomness = dict\(.*seed=7', (
            tmp_path / name / 'distill.py').read_text())
    a, b = (weights_of(tmp_path / name / 'iter_1.pth') for name in ('option', 'config'))
    assert a['meta']['seed'] == b['meta']['seed'] == 7
    assert all(torch.equal(a['state_dict'][key], b['state_dict'][key]) for key in a['state_dict'])


@pytest.mark.parametrize('change', [
    'None', 'dict(_delete_=True)', 'dict(_delete_=True, deterministic=False)', 'dict(seed=None)'])
def test_no_seed_in_the_config(project, here, tmp_path, change):
    """As mmseg's own configs have it: a seed is drawn."""
    config = project / 'seedless.py'
    config.write_text(f"_base_ = 'distill.py'\nrandomness = {change}\n")
    options = ['--work-dir', tmp_path / 'work', '--cfg-options', 'train_cfg.max_iters=1']
    out = here.run('train.py', config, '--check', *options, cwd=project)[0]
    assert 'first step' in out
    assert 'Before the first' in here.run('weigh_terms.py', config, '--batches', 1, cwd=project)[0]
    here.run('train.py', config, *options, cwd=project)
    assert isinstance(weights_of(tmp_path / 'work' / 'iter_1.pth')['meta']['seed'], int)
    assert 'mIoU' in here.run('test.py', config, tmp_path / 'work' / 'iter_1.pth', '--work-dir',
                              tmp_path / 'test', cwd=project)[0]


def test_options_that_do_not_go_together(project, here):
    for args, text in (
            (['distill.py', '--teacher-checkpoint', 'x.pth'], 'model.teacher.checkpoint=...'),
            (['distill.py', '--allow-random-teacher'], 'model.teacher.allow_random=...'),
            (['distill.py', '--seed', '-1'], 'is no seed'),
            (['distill.py', '--seed', 'x'], 'is no seed')):
        assert text in here.run('train.py', *args, cwd=project, code=2)[1]
    text = here.fails('train.py', '--student', 'student.py', '--teacher', 'teacher.py', '--recipe',
                      'kd', cwd=project)
    assert '--teacher-checkpoint' in text and '--allow-random-teacher' in text


@pytest.mark.slow
@pytest.mark.parametrize('at, text', [
    (1, "nothing was saved in '{work}' yet"),
    (3, '{work}/iter_2.pth was saved last; the same command with --resume goes on from there')])
def test_ctrl_c(project, tmp_path, at, text):
    config = project / f'stop_{at}.py'
    config.write_text("_base_ = 'distill.py'\ncustom_imports = dict(imports=['stop_hook'])\n"
                      f"custom_hooks = [dict(type='StopHook', at={at})]\n")
    done = run('train.py', config, '--work-dir', tmp_path, cwd=project, code=130)
    assert done.stderr.count('interrupted') == 1 and 'Traceback' not in done.stderr
    assert done.stderr.rstrip().endswith('interrupted: ' + text.format(work=tmp_path))
