"""Published numbers: every row of a task's file of them is one result in a metafile, digit for
digit, or says why no config is for it."""
import csv
import os
from typing import NamedTuple

from .metrics import METRICS, Metric, metric_of

#: task -> file of its published numbers, in the task's folder of configs
FILES = dict(seg='survey_rows.csv', det='published_rows.csv', det3d='published_rows.csv')
#: table of the survey -> its own file, and what its numbers are measured on
TABLES = {14: 'table14_pascal_voc.csv', 15: 'table15_cityscapes.csv'}
DATA = {14: 'Pascal VOC 2012', 15: 'Cityscapes'}


class Row(NamedTuple):
    """A published row.

    Attributes:
        method, teacher, student (str): As the source calls them.
        table (str | int): Where the numbers stand.
        data (str): What they are measured on.
        metric (Metric): What they are measured in.
        numbers (tuple): Of teacher, student alone (None where the source gives none) and
            distilled student.
        why (str): Why there is no config for it; empty if there is one.
    """

    method: str
    table: str
    teacher: str
    student: str
    data: str
    metric: Metric
    numbers: tuple
    why: str

    @property
    def texts(self):
        """The numbers as they are printed."""
        return tuple(map(self.metric.text, self.numbers))

    @property
    def name(self):
        """What a message calls it."""
        return (self.method, self.table, self.teacher, self.student, self.texts[0])

    @property
    def key(self):
        """What tells it from all other rows."""
        return (*self.name, self.metric.name)


def read_rows(configs, task):
    """The published rows of a task, under the folder ``configs``."""
    path = os.path.join(configs, task, FILES.get(task, ''))
    if not os.path.isfile(path):
        return []
    with open(path, encoding='utf-8', newline='') as file:
        return [_survey_row(row) if 'teacher_miou' in row else _row(row)
                for row in csv.DictReader(file)]


def _survey_row(row):
    table = int(row['table'])
    numbers = tuple(float(row[f'{side}_miou']) for side in ('teacher', 'student', 'distilled'))
    return Row(row['method'], table, row['teacher'], row['student'], DATA[table],
               METRICS['mIoU'], numbers, '')


def _row(row):
    numbers = tuple(float(row[side]) if row[side] else None
                    for side in ('teacher_number', 'student_number', 'distilled_number'))
    return Row(row['method'], row['table'], row['teacher'], row['student'], row['data'],
               METRICS[row['metric']], numbers, row['why_no_config'])


def left_out(configs, path, meta):
    """The rows of a method, of which the metafile is given, for which there is no config."""
    task, method = os.path.relpath(path, configs).split(os.sep)[0], meta['Collections'][0]['Name']
    return [row for row in read_rows(configs, task) if row.why and row.method == method]


def problems(configs, models, name, survey=None):
    """Where metafiles and the published rows differ, digit for digit; one line each.

    Args:
        configs (str): The folder of configs.
        models (iterable): (metafile's path, its content, a model in it).
        name: path -> how to call it.
        survey (str, optional): A folder with the survey's own tables, which the rows of
            segmentation must match.
    """
    rows = {task: {row.key: row for row in read_rows(configs, task)} for task in FILES}
    lines = _compare_with(rows['seg'], survey) if survey is not None else []
    lines += [line for path, _, model in models for result in model['Results']
              for line in _compare(rows, name(path), model['Name'], result)]
    return lines + [f'configs/{task}/{FILES[task]}: row {row.name} has no config'
                    for task, left in rows.items() for row in left.values() if not row.why]


def _compare(rows, path, model, result):
    """Take the row that a result is of out of ``rows``; what does not agree, one line each."""
    if not result.get('Metrics'):
        return []  # nothing is published for it
    task = path.split('/')[1]
    metric, source = metric_of(result), result.get('Source') or {}
    where, file = f'{path}: {model}', f'configs/{task}/{FILES[task]}'
    teacher, *others = (metric.text(result['Metrics'].get(key)) for key in metric.published)
    row = rows[task].pop((*(source.get(key) for key in ('Method', 'Table', 'Teacher', 'Student')),
                          teacher, metric.name), None)
    if row is None:
        return [f'{where}: no (other) row of {file} has {source} and teacher {teacher}']
    if list(row.texts[1:]) != others:
        return [f"{where}: published {' -> '.join(others)}, but {file} says "
                f"{' -> '.join(row.texts[1:])}"]
    if row.data != result['Dataset']:
        return [f"{where}: table {source['Table']} is not about {result['Dataset']}"]
    if row.why:
        return [f'{where}: {file} says why there is no config for it: {row.why}']
    return []


def _compare_with(rows, survey):
    methods, theirs = {row.method for row in rows.values()}, {}
    for table, file_name in TABLES.items():
        with open(os.path.join(survey, file_name), encoding='utf-8', newline='') as file:
            found = [_survey_row(dict(row, table=table)) for row in csv.DictReader(file)]
        theirs |= {row.name: row.texts[1:] for row in found if row.method in methods}
    ours = {row.name: row.texts[1:] for row in rows.values()}
    return [f'survey_rows.csv and the survey differ in {name}: {ours.get(name)} and '
            f'{theirs.get(name)}' for name in ours.keys() | theirs.keys()
            if ours.get(name) != theirs.get(name)]
