"""The report of a deployment, as Markdown and JSON."""
import json
import os
import platform

import torch

from ..results.comparison.machine import device
from . import variants

JSON = 'report.json'


def versions(backend):
    """Versions of what made and ran the export, by package."""
    from importlib.metadata import PackageNotFoundError, version
    found = dict(python=platform.python_version(), torch=torch.__version__)
    for name in ('mmdeploy', 'onnx', backend):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = 'not installed'
    return found


def markdown(report):
    """The report as Markdown text.

    Args:
        report (dict): What :func:`mmkd.deploy.command.deploy` gathers.
    """
    lines = [f"# {report['model']} for {report['backend']}", '',
             f"`{report['config']}` with `{report['checkpoint']}`, exported with "
             f"`{report['deploy_config']}`", '']
    size, parity = report['size'], report['parity']
    rows = [('input', report['input']), ('file', f"{', '.join(report['files'])}: "
                                                 f"{size['file_bytes'] / 1e6:.2f} MB"),
            ('parameters', f"{size['parameters']:,}"),
            ('FLOPs', f"{size['flops'] / 1e9:.3f} G")]
    lines += table(('', ''), rows) + ['', '## PyTorch and the export beside each other', '']
    if parity is None:
        lines += [f"Not compared: {report['backend']} is not installed here, so that nobody has "
                  'run this file yet.']
    else:
        lines += table(('', 'value', 'limit', ''), [
            (one['name'], f"{one['value']:.6g}",
             f"{'at least' if one['at_least'] else 'at most'} {one['limit']:g}",
             'ok' if one['ok'] else '**beyond it**') for one in parity['checks']])
        lines += ['', f"On {parity['samples']} inputs of {parity['source']}."]
    if report['metric']:
        lines += ['', '## Metric', ''] + table(
            ('', 'PyTorch', report['backend'], 'difference'),
            [(name, f'{one:.4f}', f'{other:.4f}', f'{other - one:+.4f}')
             for name, (one, other) in report['metric']['values'].items()])
        lines += ['', report['metric']['on']]
    if report['latency']:
        latency = report['latency']
        lines += ['', '## Latency', ''] + table(
            ('', 'median'), [(name, f'{1000 * seconds:.2f} ms')
                             for name, seconds in latency['seconds'].items()])
        lines += ['', 'One sample, from the preprocessed input to the prediction, called in turns; '
                      f"median of {latency['repeats']} after {latency['warm_up']} to warm up; "
                      f"{latency['threads']} thread(s) each; {report['machine']}."]
    lines += variants.markdown(report, table)
    if report['notes']:
        lines += ['', '## To know', '', *(f'- {note}' for note in report['notes'])]
    made = ', '.join(f'{name} {version}' for name, version in report['versions'].items())
    return '\n'.join([*lines, '', made, ''])


def table(head, rows):
    """Lines of a Markdown table."""
    align = ['---'] + ['---:'] * (len(head) - 1)
    return [f"| {' | '.join(cells)} |" for cells in (head, align, *rows)]


def write(report, folder):
    """Write report.md and report.json into ``folder``; the latter names all files in it."""
    with open(os.path.join(folder, 'report.md'), 'w', encoding='utf-8') as file:
        file.write(markdown(report))
    names = {name for name in os.listdir(folder) if not name.startswith('.')}
    report['written'] = sorted(names | {JSON})
    with open(os.path.join(folder, JSON), 'w', encoding='utf-8') as file:
        json.dump(report, file, indent=2)
        file.write('\n')


def written(folder):
    """Names of the files that an earlier export wrote into a folder, by its report."""
    try:
        with open(os.path.join(folder, JSON), encoding='utf-8') as file:
            names = json.load(file)['written']
    except (OSError, ValueError, KeyError, TypeError):  # none, or another tool's
        return []
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str) and os.path.basename(name) == name
            and os.path.isfile(os.path.join(folder, name))]


def machine():
    """A name for what this runs on."""
    return device()
