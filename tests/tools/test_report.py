"""tools/report.py: what it refuses, and what it records."""
import contextlib
import io
import os
import shutil
import subprocess
import sys

import pytest

from mmkd.results.metafiles import zoo_indices_read_once
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


def test_every_measurement_has_a_place_before_it_is_there():
    for page, sources in tool.MEASURED.items():
        with open(os.path.join(ROOT, page), encoding='utf-8') as file:
            text = file.read()
        for marker in sources:
            assert tool.tables.put_between(text, marker, 'x', page) != text


@pytest.mark.parametrize('folder, name, short', [
    ('tig_bev', 'tig_bev_centerpoint_bevdepth', 'centerpoint_bevdepth'),
    ('fgd', 'fgd_gfl-r101_gfl-r50', 'gfl-r101_gfl-r50')])
def test_a_config_is_called_by_all_but_its_method(folder, name, short):
    assert tool.tables.short_name(dict(Name=name, Config=f'configs/x/{folder}/{name}.py')) == short
