"""Comparisons that are kept: ``configs/comparisons/<name>/metafile.yml`` and its table.

The metafile holds what ``comparison.json`` said of every run, under a name; means, spreads and
gains are computed from the runs when the table is written, so that they cannot disagree with
them.
"""
import glob
import json
import os

import yaml

from ...utils.provenance import sha256
from .. import term_weights
from ..tables import begin, end
from .table import TEACHER, comparison_page, joint_table, values_of

MARKER, KEY = 'comparison', 'Comparison'
_DERIVED = ('values', 'mean', 'std', 'gain')
#: of a run that was trained; of weights that were given, only their sha256 is known
_EVIDENCE = ('seed', 'command', 'log', 'log_sha256', 'checkpoint_sha256', 'git_sha')
_OF_ALL = ('metric', 'split', 'seeds', 'command', 'device', 'torch', 'date')


def read_recorded(configs):
    """{path: {name: results}} of every recorded comparison under the folder ``configs``.

    Raises:
        ValueError: A file is not in the form that ``--record-comparison`` writes.
    """
    paths = glob.glob(os.path.join(configs, 'comparisons', '*', 'metafile.yml'))
    return {path: read_one(path) for path in sorted(paths)}


def read_one(path):
    """{name: results} of one metafile; empty if there is none."""
    if not os.path.isfile(path):
        return {}
    with open(path, encoding='utf-8') as file:
        try:
            data = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f'{path} is no YAML: {error}') from None
    if not isinstance(data, dict) or set(data) != {KEY} or not isinstance(data[KEY], dict):
        raise ValueError(f'{path} must have {KEY} and nothing else')
    return data[KEY]


def collect(out, git_sha=None):
    """What a folder of tools/compare.py proves, to be recorded.

    Args:
        out (str): The folder.
        git_sha (str, optional): The commit of runs that do not say theirs.

    Raises:
        FileNotFoundError: It holds no comparison.
        ValueError: A run is not finished, or its log or weights are not those of the results.
    """
    path = os.path.join(out, 'comparison.json')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{out} holds no comparison.json: it is no folder of '
                                'tools/compare.py, or that has not finished')
    with open(path, encoding='utf-8') as file:
        results = json.load(file)
    for row in results['rows']:
        for key in _DERIVED:
            row.pop(key, None)
        for run in row['runs']:
            if not _given(row, run):
                run['git_sha'] = run['git_sha'] or git_sha
            for name in ('log', 'checkpoint'):
                file = os.path.join(out, run[name] or '')
                if run[name] and os.path.isfile(file) and sha256(file) != run[f'{name}_sha256']:
                    raise ValueError(f'{file} is not the file that {path} speaks of: it has '
                                     'changed since; run tools/compare.py again')
    wrong = problems(results)
    if wrong:
        raise ValueError(f'{out} proves too little to be recorded:\n  ' + '\n  '.join(wrong))
    return results


def problems(results):
    """What is missing in a recorded comparison, one line each."""
    missing = [key for key in _OF_ALL if results.get(key) in (None, '', [])]
    if missing:
        return [f"no {', '.join(missing)}"]
    lines = []
    for row in results.get('rows') or []:
        found = values_of(row, results)
        for run in row['runs']:
            given = _given(row, run)
            where = row['model'] if given else f"{row['model']} seed {run['seed']}"
            keys = ('checkpoint_sha256',) if given else _EVIDENCE
            absent = [key for key in keys if run.get(key) in (None, '')]
            if run.get('failure'):
                lines.append(f'{where}: not finished')
            elif not isinstance(found.get(run['seed']), (int, float)):
                lines.append(f"{where}: no {results['metric']} on {results['split']}")
            elif absent:
                lines.append(f"{where}: no {', '.join(absent)}"
                             + (' (the code was no clean clone; give --git-sha)'
                                if absent == ['git_sha'] else ''))
    return lines or ([] if results.get('rows') else ['no rows'])


def _given(row, run):
    """Whether the teacher's weights were there already."""
    return row['model'] == TEACHER and run['seed'] is None


def generated(path, named):
    """{marker: table} of the README.md beside the metafile ``path``: the comparisons and, where
    its folder holds any, the measured weights."""
    weighed = term_weights.read_kept(os.path.dirname(path))
    return {MARKER: page(named),
            **({term_weights.WEIGHTS: term_weights.joint_weights(weighed)} if weighed else {})}


def page(named):
    """The Markdown of a folder's comparisons: beside each other first, if there are several."""
    if len(named) == 1:
        return _with_command(*named.values())
    parts = [joint_table(named)]
    for name, results in named.items():
        parts += [f'**{name}**', _with_command(results)]
    return '\n\n'.join(parts)


def _with_command(results):
    commits = dict.fromkeys(run['git_sha'][:7] for row in results['rows'] for run in row['runs']
                            if run['git_sha'])
    return (f"{comparison_page(results)}\n\n`{results['command']}` (commit "
            f"{', '.join(f'`{commit}`' for commit in commits)}); logs, weights and their sha256 "
            'are in [metafile.yml](metafile.yml).')


def new_page(name):
    """The README.md of a folder that has none yet."""
    return f'# {name}\n\n{begin(MARKER)}\n{end(MARKER)}\n'
