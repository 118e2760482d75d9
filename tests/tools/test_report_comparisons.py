"""tools/report.py --record-comparison: what is kept of a comparison, and what is refused."""
import hashlib
import json
import shutil

import pytest
import yaml

from tests.results.comparison.common import make_results
from tests.tools.test_report import quick, replace, repo, report, template  # noqa: F401

pytestmark = pytest.mark.filterwarnings('ignore')
FOLDER = 'configs/comparisons/tiny'


def write_out(folder, results):
    """A comparison's folder with the logs and weights that its results name."""
    folder.mkdir()
    for row in results['rows']:
        for run in row['runs']:
            for key, text in (('log', 'log'), ('checkpoint', 'weights')):
                if run[key] and run['log']:
                    path = folder / run[key]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
                    run[f'{key}_sha256'] = hashlib.sha256(text.encode()).hexdigest()
    (folder / 'comparison.json').write_text(json.dumps(results))
    return folder


def record(repo, out, *words):  # noqa: F811
    return report(repo, '--record-comparison', out, repo / FOLDER, *words)


@pytest.fixture
def recorded(repo, tmp_path):  # noqa: F811
    code, text = record(repo, write_out(tmp_path / 'out', make_results()))
    assert code == 0, text
    return repo


def test_a_comparison_is_recorded_with_its_table(recorded):
    page = (recorded / FOLDER / 'README.md').read_text()
    # 20, 21, 22 and gains 1, 2, 3: mean 2, t(0.975, 2) / sqrt(3) = 2.48
    assert '| student alone | 21.00 ± 1.00 | 20.00, 21.00, 22.00 |' in page
    assert '| cwd | 23.00 ± 2.00 | 21.00, 23.00, 25.00 | +2.00 (-0.48 to +4.48, n = 3) |' in page
    assert '`python tools/compare.py --out x`' in page and '`3333333`' in page
    held = yaml.safe_load((recorded / FOLDER / 'metafile.yml').read_text())['Comparison']
    run = held['comparison']['rows'][2]['runs'][1]
    assert run['metrics'] == {'test': {'mIoU': 23.}} and run['seed'] == 1
    assert run['checkpoint_sha256'] == hashlib.sha256(b'weights').hexdigest()
    assert report(recorded, '--check')[0] == 0


def test_several_are_beside_each_other(repo, tmp_path):  # noqa: F811
    for name, gains in (('published', (1., 2., 3.)), ('fitted', (3., 4., 5.))):
        out = write_out(tmp_path / name, make_results(gains=gains))
        assert record(repo, out, '--name', name)[0] == 0
    page = (repo / FOLDER / 'README.md').read_text()
    assert ('| cwd | 23.00 ± 2.00 | +2.00 (-0.48 to +4.48, n = 3) | '
            '25.00 ± 2.00 | +4.00 (+1.52 to +6.48, n = 3) |') in page
    assert page.index('**published**') < page.index('**fitted**')
    assert report(repo, '--check')[0] == 0


@pytest.mark.parametrize('file, old, new, said', [
    ('README.md', '23.00', '24.00', f'{FOLDER}/README.md is not what'),
    ('README.md', '<!-- comparison:end -->', '', 'must have <!-- comparison:begin -->'),
    ('metafile.yml', 'mIoU: 23.0', 'mIoU: 24.0', f'{FOLDER}/README.md is not what'),
    ('metafile.yml', 'mIoU: 23.0', "mIoU: '23.0'", 'cwd seed 1: no mIoU on test'),
    ('metafile.yml', "git_sha: '" + '3' * 40 + "'", "git_sha: ''",
     'student alone seed 0: no git_sha'),
    ('metafile.yml', 'log: x/seed1/train.log', 'log: ""',
     'student alone seed 1: no log'),
    ('metafile.yml', 'seed: 2', 'seed:', 'no seed'),
    ('metafile.yml', 'device: a CPU, 2 cores', 'device: ""', 'no device'),
    ('metafile.yml', 'Comparison:', 'Comparisons:', 'must have Comparison and nothing else'),
])
def test_check_fails_when_table_and_evidence_differ(recorded, file, old, new, said):
    replace(recorded / FOLDER / file, old, new)
    code, text = report(recorded, '--check')
    assert code == 1 and said in text, text
    assert 'Traceback' not in text


@pytest.mark.parametrize('break_it, said', [
    (lambda run, out: run.update(failure='killed'), 'cwd seed 0: not finished'),
    (lambda run, out: run.update(metrics={}), 'cwd seed 0: no mIoU on test'),
    (lambda run, out: run.update(git_sha=None), 'cwd seed 0: no git_sha (the code was no clean'),
    (lambda run, out: run.update(checkpoint_sha256=None), 'has changed since'),
    (lambda run, out: (out / run['log']).write_text('other'), 'train.log is not the file'),
    (lambda run, out: (out / run['checkpoint']).write_text('other'), 'iter_40.pth is not the file'),
])
def test_what_proves_too_little_is_refused(repo, tmp_path, break_it, said):  # noqa: F811
    out = write_out(tmp_path / 'out', make_results())
    results = json.loads((out / 'comparison.json').read_text())
    break_it(results['rows'][2]['runs'][0], out)
    (out / 'comparison.json').write_text(json.dumps(results))
    code, text = record(repo, out)
    assert code == 1 and said in text, text
    assert not (repo / FOLDER).exists()


def test_a_commit_can_be_given_and_elsewhere_is_refused(repo, tmp_path):  # noqa: F811
    results = make_results()
    for row in results['rows']:
        for run in row['runs']:
            run['git_sha'] = None
    out = write_out(tmp_path / 'out', results)
    code, text = report(repo, '--record-comparison', out, repo / 'configs/seg/tiny')
    assert code == 1 and 'comparisons/<name>' in text
    assert record(repo, out, '--git-sha', 'b' * 40)[0] == 0
    assert '`bbbbbbb`' in (repo / FOLDER / 'README.md').read_text()
    shutil.rmtree(out)
    code, text = record(repo, tmp_path / 'out')
    assert code == 1 and 'holds no comparison.json' in text
