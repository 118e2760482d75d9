"""tools/report.py: what it refuses, and what it records."""
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmkd.results.metafiles import read_metafile, zoo_indices_read_once
from tests.cli import load_tool

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
METHOD = 'configs/seg/fitnet'
NAME = 'fitnet_deeplabv3-r50_deeplabv3-mv2_8xb2-40k_voc12aug-512x512'
CONFIG = f'{METHOD}/{NAME}.py'
META = f'{METHOD}/metafile.yml'

pytestmark = pytest.mark.filterwarnings('ignore')


tool = load_tool('report')


def report(root, *args):
    """Run the tool; (exit code, what it printed)."""
    args = tool.parse_args(['--root', str(root), *map(str, args)])
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            tool._common.run(tool.main, args)
        except SystemExit as error:
            return error.code, out.getvalue()
    return 0, out.getvalue()


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once():
        yield


@pytest.fixture(scope='module')
def template(tmp_path_factory):
    """A repository with one method and its front page, all in order."""
    root = tmp_path_factory.mktemp('repo')
    shutil.copytree(os.path.join(ROOT, 'configs', '_base_'), root / 'configs' / '_base_')
    shutil.copytree(os.path.join(ROOT, METHOD), root / METHOD)
    with open(os.path.join(ROOT, 'configs/seg/survey_rows.csv'), encoding='utf-8') as file:
        lines = file.read().splitlines()
    rows = [lines[0], *(line for line in lines if ',FitNet,' in line)]
    (root / 'configs/seg/survey_rows.csv').write_text('\n'.join(rows) + '\n')
    (root / 'README.md').write_text('# x\n<!-- methods:begin -->\n<!-- methods:end -->\n')
    code, text = report(root)
    assert code == 0, text
    return root


@pytest.fixture
def repo(template, tmp_path):
    return shutil.copytree(template, tmp_path / 'repo')


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_this_repository_is_in_order():
    done = subprocess.run([sys.executable, os.path.join(ROOT, 'tools', 'report.py'), '--check'],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_repository_in_order_passes_and_is_not_rewritten(repo):
    files = {path: path.stat().st_mtime_ns for path in repo.rglob('*.*')}
    assert report(repo, '--check')[0] == 0
    code, text = report(repo)
    assert code == 0 and 'wrote' not in text
    assert {path: path.stat().st_mtime_ns for path in repo.rglob('*.*')} == files


def test_a_page_says_what_the_metafile_says(repo):
    table = (repo / METHOD / 'README.md').read_text()
    row = next(line for line in table.splitlines() if f'({NAME}.py)' in line)
    assert '| 76.21 | 70.57 | 71.30 | +0.73 | 76.17 |' in row and 'not run' in row
    assert '| 1 | 0 of 1 |' in (repo / 'README.md').read_text()


@pytest.mark.parametrize('file, old, new, said', [
    # a number edited in a page, in a metafile, in the survey's rows
    (f'{METHOD}/README.md', '71.30', '72.30', f'{METHOD}/README.md is not what'),
    ('README.md', '0 of 1', '1 of 1', 'README.md is not what'),
    ('docs/reference/losses.md', '`tau`', '`T`', 'docs/reference/losses.md is not what'),
    ('docs/reference/schedules.md', '| `0.1` |', '| `0.2` |', 'schedules.md is not what'),
    (META, ' mIoU (published): 71.3', ' mIoU (published): 72.3', 'published 70.57 -> 72.30'),
    (META, 'Student mIoU (published): 70.57', 'Student mIoU (published): 70.0', '70.00 -> 71.30'),
    (META, 'Teacher mIoU (published): 76.21', 'Teacher mIoU (published): 76.0', 'teacher 76.00'),
    (META, ' mIoU (published): 71.3', " mIoU (published): '71.3'", 'is not a number'),
    (META, 'Table: 14', 'Table: 15', 'no (other) row'),
    ('configs/seg/survey_rows.csv', '71.30', '70.98', '70.57 -> 70.98'),
    # a metafile that says other than its config
    (META, 'Iterations: 40000', 'Iterations: 80000', f'{META} is not what'),
    (META, 'Weight: 10.0', 'Weight: 5.0', f'{META} is not what'),
    (CONFIG, 'recipes/seg/fitnet.py', 'recipes/seg/cwd.py', f'{META} is not what'),
    (CONFIG, '596905ef.pth', 'other.pth', "none of the weights in mmseg's metafile"),
    (META, f'{NAME}.py', 'gone.py', "config 'configs/seg/fitnet/gone.py' is missing"),
    (META, f'Name: {NAME}', 'Name: another', "the name is not its config's"),
    (META, 'In Collection: FitNet', 'In Collection: CWD', "no collection 'CWD'"),
    ('model-index.yml', META, 'configs/seg/x/metafile.yml', 'model-index.yml is not what'),
    # pages without a place for the table
    ('README.md', '<!-- methods:end -->', '', 'must have <!-- methods:begin -->'),
    # results that nobody measured
    (META, 'Ours: not run', 'Ours: 76.5', "neither 'not run' nor a measured mIoU"),
    (META, 'Ours: not run', 'Ours: {mIoU: 76.5}', 'has no Log, Git SHA, Seed, Checkpoint SHA256'),
    (META, 'Ours: not run', 'Ours: {mIoU: 76.5, Evidence: {Log: a, Git SHA: b, Seed: 0}}',
     'has no Checkpoint SHA256;'),
])
def test_check_names_what_disagrees(repo, file, old, new, said):
    replace(repo / file, old, new)
    code, text = report(repo, '--check')
    assert code == 1 and said in text, text
    assert 'Traceback' not in text


def test_check_names_a_missing_and_an_extra_config(repo):
    os.rename(repo / CONFIG, repo / METHOD / 'extra.py')
    code, text = report(repo, '--check')
    assert code == 1 and f"config '{CONFIG}' is missing" in text
    shutil.copy(repo / METHOD / 'extra.py', repo / CONFIG)
    code, text = report(repo, '--check')
    assert code == 1 and f'{METHOD}/extra.py has 0 rows in metafiles' in text


def test_check_names_a_row_of_the_survey_without_a_config(repo):
    path = repo / 'configs/seg/survey_rows.csv'
    path.write_text(f'{path.read_text()}15,FitNet,PSPNet-R101,70.00,PSPNet-R18,60.00,61.00,+1.00\n')
    code, text = report(repo, '--check')
    assert code == 1 and "row ('FitNet', 15, 'PSPNet-R101', 'PSPNet-R18', '70.00') has no" in text


def test_check_compares_with_the_surveys_own_tables(repo, tmp_path):
    rows = (repo / 'configs/seg/survey_rows.csv').read_text().splitlines()
    header = rows[0].partition(',')[2]
    for number, name in ((14, 'table14_pascal_voc.csv'), (15, 'table15_cityscapes.csv')):
        lines = [row.partition(',')[2] for row in rows if row.startswith(f'{number},')]
        (tmp_path / name).write_text('\n'.join([header, *lines]) + '\n')
    assert report(repo, '--check', '--survey', tmp_path)[0] == 0
    replace(tmp_path / 'table14_pascal_voc.csv', '71.30', '71.90')
    code, text = report(repo, '--check', '--survey', tmp_path)
    assert code == 1 and "('70.57', '71.30') and ('70.57', '71.90')" in text


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
