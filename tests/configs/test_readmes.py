"""A method's page says what its recipe does: terms, taps, losses, connectors and weights."""
import ast
import glob
import inspect
import os
import re

import pytest

from mmkd.apis import config_root, join_recipes, recipes
from mmkd.registry import MODELS

PAGES = sorted(page for task in ('seg', 'det', 'det3d')
               for page in glob.glob(os.path.join(config_root(), task, '*', 'README.md')))

TERM_KEYS = ('tap', 'student_tap', 'teacher_tap', 'weight', 'schedule')


def read(page):
    with open(page, encoding='utf-8') as file:
        return file.read()


def table(text):
    """Rows of the table below 'What is compared', as column -> cell."""
    part = text.split('## What is compared')[1].split('\n## ')[0]
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in part.splitlines() if line.startswith('|')]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]], part


def code(cell):
    """The first `...` of a cell."""
    return (re.findall('`([^`]+)`', cell) or [None])[0]


def built(text):
    """'mmkd.KDLoss(tau=1)' -> dict(type='mmkd.KDLoss', tau=1)."""
    call = ast.parse(text, mode='eval').body
    if not isinstance(call, ast.Call):
        return dict(type=text)
    return dict({word.arg: ast.literal_eval(word.value) for word in call.keywords},
                type=ast.unparse(call.func))


def test_every_method_has_a_page():
    methods = {os.path.basename(os.path.dirname(page)) for page in PAGES}
    assert {re.sub('_voc$', '', name) for name in recipes()} >= methods and len(methods) >= 7


@pytest.mark.parametrize('page', PAGES, ids=lambda page: os.path.basename(os.path.dirname(page)))
def test_a_page_says_what_its_recipe_does(page):
    method = os.path.basename(os.path.dirname(page))
    text = read(page)
    rows, part = table(text)
    terms = join_recipes(method)
    assert [code(row['term']) for row in rows] == list(terms)
    for row, (name, term) in zip(rows, terms.items(), strict=True):
        assert code(row['tap']) == term['tap'], name
        assert float(row['weight']) == term['weight'], name
        said = built(code(row['loss']))
        assert {key: term['loss'][key] for key in said} == said, name
        for side in ('student', 'teacher'):
            own = term.get(f'{side}_connector')
            cell = row.get(f"{side}'s connector")
            if cell is not None:
                assert (built(code(cell)) if cell else None) == own, name
            elif own is not None:  # told below the table, for all terms alike
                assert own in [built(word) for word in re.findall('`(mmkd[^`]+)`', part)], name
        if 'VOC' in row:
            assert float(row['VOC']) == join_recipes(f'{method}_voc')[name]['weight']


@pytest.mark.parametrize('page', PAGES, ids=lambda page: os.path.basename(os.path.dirname(page)))
def test_options_and_files_on_a_page_exist(page):
    text, terms = read(page), join_recipes(os.path.basename(os.path.dirname(page)))
    for option in re.findall(r'model\.distillations\.([\w.]+)=', text):
        name, *keys = option.split('.')
        assert name in terms, option
        if len(keys) == 2:  # an argument of the term's loss or connector
            known = inspect.signature(MODELS.get(terms[name][keys[0]]['type'])).parameters
        else:
            known = TERM_KEYS
        assert keys[-1] in known, option
    root = os.path.dirname(config_root())
    for file in re.findall(r'(?:configs|tools)/[\w./-]+\.(?:py|sh)', text):
        assert os.path.isfile(os.path.join(root, file)), file
    for link in re.findall(r'\]\((?!http)([^)#]+)\)', text):
        assert os.path.exists(os.path.join(os.path.dirname(page), link)), link
    assert set(re.findall(r'--recipe (\w+)', text)) <= set(recipes())
