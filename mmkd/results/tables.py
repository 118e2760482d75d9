"""Tables made from metafiles, between markers in Markdown pages."""
import os
import re

from .metafiles import DISTILLED, NOT_RUN, STUDENT, TEACHER


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
    """A Markdown table; numbers to the right."""
    align = ['---:' if rows and all(re.fullmatch(r'[-+]?[\d.]+|not run.*', str(row[i]))
                                    for row in rows) else '---' for i in range(len(header))]
    return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in [header, align, *rows])


def results_table(meta):
    """One row per config of a method, and the notes under it."""
    rows, notes = [], []
    for model in meta['Models']:
        result, teacher = model['Results'][0], model['Metadata']['Teacher']
        marks = []
        for note in result.get('Notes', []):
            if note not in notes:
                notes.append(note)
            marks.append(str(notes.index(note) + 1))
        numbers = result['Metrics']
        source = result['Source']
        rows.append([
            f"[{short_name(model['Name'])}]({os.path.basename(model['Config'])})",
            result['Dataset'],
            f"{source['Teacher']} → {source['Student']}",
            *(f'{numbers[key]:.2f}' for key in (TEACHER, STUDENT, DISTILLED)),
            f'{numbers[DISTILLED] - numbers[STUDENT]:+.2f}',
            f"{teacher['Metrics']['mIoU']:.2f}" if 'Metrics' in teacher else '',
            ours(result),
            ', '.join(marks)])
    header = ['Config', 'Data', 'Pair (published)', 'Teacher', 'Student', 'Distilled', 'Gain',
              "Zoo teacher's", 'Ours', 'Notes']
    lines = [table(header, rows)]
    if notes:
        lines += ['', *(f'{i}. {note}' for i, note in enumerate(notes, 1))]
    return '\n'.join(lines)


def ours(result):
    """What was measured here, with where it comes from."""
    if result['Ours'] == NOT_RUN:
        return NOT_RUN
    evidence = result['Ours']['Evidence']
    return (f"{result['Ours']['mIoU']:.2f} (seed {evidence['Seed']}, "
            f"`{evidence['Git SHA'][:7]}`, weights `{evidence['Checkpoint SHA256'][:8]}`)")


def short_name(name):
    """A config's name without the parts that the table's other columns say."""
    return name.partition('_')[2]


def methods_table(metas, root):
    """One row per method, for the front page."""
    rows = []
    for path, meta in metas.items():
        collection, models = meta['Collections'][0], meta['Models']
        folder = os.path.relpath(os.path.dirname(path), root).replace(os.sep, '/')
        taps = dict.fromkeys(term['Tap'] for model in models
                             for term in model['Metadata']['Distillations'].values())
        data = dict.fromkeys(model['Results'][0]['Dataset'] for model in models)
        run = sum(model['Results'][0]['Ours'] != NOT_RUN for model in models)
        rows.append([f"[{collection['Name']}]({folder}/README.md)",
                     f"[{collection['Paper']['Title']}]({collection['Paper']['URL']})",
                     ', '.join(taps), ', '.join(data), len(models), f'{run} of {len(models)}'])
    return table(['Method', 'Paper', 'Taps', 'Data', 'Configs', 'Trained here'], rows)
