"""Published numbers: every row of the survey for our methods is one row of a metafile."""
import csv
import os

from .metafiles import PUBLISHED

#: table of the survey -> its own file, and what its numbers are measured on
TABLES = {14: 'table14_pascal_voc.csv', 15: 'table15_cityscapes.csv'}
DATA = {14: 'Pascal VOC 2012', 15: 'Cityscapes'}
ROW = ('Method', 'Table', 'Teacher', 'Student')


def problems(path, models, name, survey=None):
    """Where metafiles and the survey's rows differ, digit for digit; one line each.

    Args:
        path (str): ``survey_rows.csv``.
        models (iterable): (metafile's path, its content, a model in it).
        name: path -> how to call it.
        survey (str, optional): A folder with the survey's own tables, which the rows must match.
    """
    with open(path, encoding='utf-8', newline='') as file:
        rows = {(row['method'], int(row['table']), row['teacher'], row['student'],
                 row['teacher_miou']): row for row in csv.DictReader(file)}
    lines = _compare_with(rows, survey) if survey is not None else []
    for meta_path, _, model in models:
        if name(meta_path).split('/')[1] != 'seg':
            continue
        where, result = f"{name(meta_path)}: {model['Name']}", model['Results'][0]
        source, numbers = result.get('Source') or {}, result.get('Metrics') or {}
        teacher, *others = (f'{numbers.get(key) or 0.:.2f}' for key in PUBLISHED)
        row = rows.pop((*(source.get(key) for key in ROW), teacher), None)
        if row is None:
            lines.append(f'{where}: no (other) row of {name(path)} has {source} and teacher '
                         f'{teacher}')
        elif [row['student_miou'], row['distilled_miou']] != others:
            lines.append(f"{where}: published {' -> '.join(others)}, but {name(path)} says "
                         f"{row['student_miou']} -> {row['distilled_miou']}")
        elif DATA[source['Table']] != result['Dataset']:
            lines.append(f"{where}: table {source['Table']} is not about {result['Dataset']}")
    return lines + [f'{name(path)}: row {key} has no config' for key in rows]


def _compare_with(rows, survey):
    methods, theirs = {key[0] for key in rows}, {}
    for number, file_name in TABLES.items():
        with open(os.path.join(survey, file_name), encoding='utf-8', newline='') as file:
            theirs |= {(row['method'], number, row['teacher'], row['student'],
                        row['teacher_miou']): (row['student_miou'], row['distilled_miou'])
                       for row in csv.DictReader(file) if row['method'] in methods}
    ours = {key: (row['student_miou'], row['distilled_miou']) for key, row in rows.items()}
    return [f'survey_rows.csv and the survey differ in {key}: {ours.get(key)} and '
            f'{theirs.get(key)}' for key in ours.keys() | theirs.keys()
            if ours.get(key) != theirs.get(key)]
