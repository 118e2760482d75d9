"""tools/report.py --record: what it takes from a work dir, and what it refuses."""
# ruff: noqa: F811 - fixtures are imported
import hashlib
import json
import os
import re
import shutil

import pytest
import torch
from mmengine.config import Config

from mmkd.results.metafiles import read_metafile
from tests.tools.test_report import (  # noqa: F401
    CONFIG,
    META,
    METHOD,
    NAME,
    quick,
    replace,
    repo,
    report,
    template,
)

pytestmark = pytest.mark.filterwarnings('ignore')


# ---- recording -----------------------------------------------------------------------------
@pytest.fixture
def work_dir(repo):
    """What a training of CONFIG on 8 GPUs leaves, cut down to what is read."""
    folder = repo / 'work_dirs' / NAME
    run = folder / '20250102_030405'
    os.makedirs(run / 'vis_data')
    Config.fromfile(repo / CONFIG).dump(run / 'vis_data' / 'config.py')
    scores = {36000: 74.216, 40000: 73.987}
    records = [dict(loss=1.5, step=50)] + [dict(mIoU=s, step=i) for i, s in scores.items()]
    (run / 'vis_data' / 'scalars.json').write_text(''.join(json.dumps(r) + '\n' for r in records))
    (run / '20250102_030405.log').write_text('System environment:\n    GPU number: 8\n')
    for i in scores:
        torch.save(dict(meta=dict(seed=7, iter=i), state_dict=dict(w=torch.full((2,), float(i)))),
                   folder / f'iter_{i}.pth')
    return folder


def recorded(repo):
    return next(model['Results'][0]['Ours'] for model in read_metafile(repo / META)['Models']
                if model['Name'] == NAME)


@pytest.mark.parametrize('options, score, step, kind', [
    ((), 73.99, 40000, 'last'), (('--best',), 74.22, 36000, 'best')])
def test_record_reads_the_work_dir(repo, work_dir, options, score, step, kind):
    code, text = report(repo, '--record', repo / CONFIG, work_dir, '--git-sha', 'a' * 40, *options)
    assert code == 0, text
    digest = hashlib.sha256((work_dir / f'iter_{step}.pth').read_bytes()).hexdigest()
    assert recorded(repo) == {'mIoU': score, 'Evidence': {
        'Log': f'work_dirs/{NAME}/20250102_030405/20250102_030405.log', 'Git SHA': 'a' * 40,
        'Seed': 7, 'Checkpoint SHA256': digest, 'Iteration': step, 'Evaluation': kind}}
    assert f'{score} (seed 7, `aaaaaaa`, weights `{digest[:8]}`)' in (
        repo / METHOD / 'README.md').read_text()
    assert '| 1 of 1 |' in (repo / 'README.md').read_text()
    code, text = report(repo, '--check')
    assert code == 0, text


def test_record_takes_the_commit_that_the_run_noted(repo, work_dir):
    path = work_dir / '20250102_030405' / 'vis_data' / 'config.py'
    path.write_text(f"{path.read_text()}\ngit_sha = '{'b' * 40}'\n")
    assert report(repo, '--record', repo / CONFIG, work_dir)[0] == 0
    assert recorded(repo)['Evidence']['Git SHA'] == 'b' * 40


def test_record_needs_the_commit_from_somewhere(repo, work_dir):
    code, text = report(repo, '--record', repo / CONFIG, work_dir)
    assert code == 1 and 'give --git-sha' in text
    assert recorded(repo) == 'not run'


def edit_config(work_dir, pattern, new):
    path = work_dir / '20250102_030405' / 'vis_data' / 'config.py'
    text, count = re.subn(pattern, new, path.read_text())
    assert count
    path.write_text(text)


@pytest.mark.parametrize('pattern, new, said', [
    (r'weight=10.0', 'weight=5.0', 'weight: 5.0 instead of 10.0'),
    (r'max_iters=40000', 'max_iters=20000', 'max_iters: 20000 instead of 40000'),
    (r'lr=0.02', 'lr=0.01', 'lr: 0.01 instead of 0.02'),
    (r'_20200617_010906-596905ef', '_mine', 'teacher.checkpoint'),
])
def test_record_refuses_another_setting(repo, work_dir, pattern, new, said):
    edit_config(work_dir, pattern, new)
    code, text = report(repo, '--record', repo / CONFIG, work_dir, '--git-sha', 'a')
    assert code == 1 and 'is no training of' in text and said in text, text
    assert recorded(repo) == 'not run'


def test_record_accepts_other_places_for_data_and_weights(repo, work_dir):
    edit_config(work_dir, r'data/VOCdevkit/VOC2012', '/elsewhere/VOC2012')
    edit_config(work_dir, r'https://download\.openmmlab\.com/[\w/.-]*/', '/weights/')
    assert report(repo, '--record', repo / CONFIG, work_dir, '--git-sha', 'a')[0] == 0


@pytest.mark.parametrize('break_it, said', [
    (lambda d: (d / 'iter_40000.pth').unlink(), 'the checkpoint that was evaluated'),
    (lambda d: replace(next(d.glob('*/*.log')), 'GPU number: 8', 'GPU number: 1'),
     'trained with 2 pictures per step'),
    (lambda d: next(d.glob('*/*.log')).unlink(), 'holds no log'),
    (lambda d: next(d.glob('*/vis_data/scalars.json')).write_text('{"loss": 1.0, "step": 1}\n'),
     'holds no evaluation'),
    (lambda d: torch.save(dict(meta={}, state_dict={}), d / 'iter_40000.pth'), 'which seed'),
])
def test_record_refuses_a_work_dir_that_proves_nothing(repo, work_dir, break_it, said):
    break_it(work_dir)
    code, text = report(repo, '--record', repo / CONFIG, work_dir, '--git-sha', 'a')
    assert code == 1 and said in text, text
    assert recorded(repo) == 'not run'


def test_record_refuses_a_config_without_a_row(repo, work_dir):
    shutil.copy(repo / CONFIG, repo / 'mine.py')
    code, text = report(repo, '--record', repo / 'mine.py', work_dir)
    assert code == 1 and 'has no row in a metafile' in text
    code, text = report(repo, '--record', repo / 'gone.py', work_dir)
    assert code == 1 and 'there is no config' in text
