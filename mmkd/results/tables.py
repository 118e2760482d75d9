"""Tables made from metafiles, between markers in Markdown pages."""
import os
import re

from .metafiles import NOT_RUN
from .metrics import metric_of


def begin(name):
    return f'<!-- {name}:begin -->'


def end(name):
    return f'<!-- {name}:end -->'


def put_between(text, name, table, where):
    """``text`` with ``table`` between the markers ``name``.

    Raises:
        ValueError: The markers are not there, once each and in order.
    """
    pattern = re.compile(f'{re.escape(begin(name))}.*?{re.escape(end(name))}', re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f'{where} must have {begin(name)} and {end(name)} once, around its '
                         'generated table')
    block = f'{begin(name)}\n{table}\n{end(name)}'
    return pattern.sub(lambda _: block, text)


def table(header, rows):
    """A Markdown table; numbers to the right ('-' is a number that is not known)."""
    align = ['---:' if rows and all(re.fullmatch(r'[-+]?[\d.]+|-|not run.*', str(row[i]))
                                    for row in rows) else '---' for i in range(len(header))]
    return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in [header, align, *rows])


def results_table(meta, left_out=()):
    """One row per result of a method's configs, with notes, and the rows that have no config.

    Args:
        meta (dict): The method's metafile.
        left_out (iterable of Row): Published rows that no config here is for.
    """
    results = [(model, result) for model in meta['Models'] for result in model['Results']]
    metrics = [metric_of(result) for _, result in results] + [row.metric for row in left_out]
    several = len(set(metrics)) > 1
    rows, notes = [], []
    for (model, result), metric in zip(results, metrics, strict=False):
        for note in result.get('Notes', []):
            if note not in notes:
                notes.append(note)
        marks = [str(notes.index(note) + 1) for note in result.get('Notes', [])]
        numbers = [(result.get('Metrics') or {}).get(key) for key in metric.published]
        source = result.get('Source')
        zoo = model['Metadata']['Teacher'].get('Metrics', {})
        rows.append([
            f"[{short_name(model)}]({os.path.basename(model['Config'])})",
            result['Dataset'],
            *([metric.name] if several else []),
            f"{source['Teacher']} → {source['Student']}" if source else '-',
            *_numbers(metric, numbers),
            metric.text(zoo.get(metric.name)) or '-',
            ours(result),
            ', '.join(marks)])
    header = ['Data', *(['Metric'] if several else []), 'Pair (published)', 'Teacher', 'Student',
              'Distilled', 'Gain']
    lines = [table(['Config', *header, "Zoo teacher's", 'Ours', 'Notes'], rows)]
    if notes:
        lines += ['', *(f'{i}. {note}' for i, note in enumerate(notes, 1))]
    if left_out:
        lines += ['', 'Published, without a config here:', '', table([*header, 'Why'], [
            [row.data, *([row.metric.name] if several else []),
             f'{row.teacher} → {row.student}', *_numbers(row.metric, row.numbers), row.why]
            for row in left_out])]
    return '\n'.join(lines)


def _numbers(metric, numbers):
    """Teacher, student, distilled and gain, as text; '-' where nothing is published."""
    return [*(metric.text(number) or '-' for number in numbers),
            '-' if None in numbers[1:] else f'{numbers[2] - numbers[1]:+.{metric.digits}f}']


def ours(result):
    """What was measured here, with where it comes from."""
    if result['Ours'] == NOT_RUN:
        return NOT_RUN
    metric, evidence = metric_of(result), result['Ours']['Evidence']
    return (f"{metric.text(result['Ours'][metric.name])} (seed {evidence['Seed']}, "
            f"`{evidence['Git SHA'][:7]}`, weights `{evidence['Checkpoint SHA256'][:8]}`)")


def short_name(model):
    """A config's name without the method, which its folder and the table's page say."""
    folder = os.path.basename(os.path.dirname(model['Config']))
    return model['Name'].removeprefix(f'{folder}_')


def methods_table(metas, root):
    """One row per method, for the front page."""
    rows = []
    for path, meta in metas.items():
        collection, models = meta['Collections'][0], meta['Models']
        folder = os.path.relpath(os.path.dirname(path), root).replace(os.sep, '/')
        taps = dict.fromkeys(tap for model in models
                             for term in model['Metadata']['Distillations'].values()
                             for tap in re.split(', | / ', term['Tap']))
        data = dict.fromkeys(result['Dataset'] for model in models for result in model['Results'])
        run = sum(model['Results'][0]['Ours'] != NOT_RUN for model in models)
        rows.append([f"[{collection['Name']}]({folder}/README.md)",
                     f"[{collection['Paper']['Title']}]({collection['Paper']['URL']})",
                     ', '.join(taps), ', '.join(data), len(models), f'{run} of {len(models)}'])
    return table(['Method', 'Paper', 'Taps', 'Data', 'Configs', 'Trained here'], rows)
