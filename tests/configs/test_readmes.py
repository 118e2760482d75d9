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
    return (codes(cell) or [None])[0]


def codes(cell):
    """Every `...` of a cell."""
    return re.findall('`([^`]+)`', cell)


def taps_of(term):
    """What a term taps, the student's first, each once."""
    sides = [term.get(f'{side}_tap', term.get('tap')) for side in ('student', 'teacher')]
    return list(dict.fromkeys(tap for side in sides for tap in (
        side.values() if isinstance(side, dict) else [side])))


def name_of(page):
    """'det/cwd', what its recipe is called."""
    return '/'.join(page.split(os.sep)[-3:-1])


def connectors(term, side):
    """Connectors of a term's side: one, or one for each of several taps."""
    own = term.get(f'{side}_connector')
    return [own] if own is None or 'type' in own else list(own.values())


def built(text):
    """'mmkd.KDLoss(tau=1)' -> dict(type='mmkd.KDLoss', tau=1)."""
    call = ast.parse(text, mode='eval').body
    if not isinstance(call, ast.Call):
        return dict(type=text)
    return dict({word.arg: ast.literal_eval(word.value) for word in call.keywords},
                type=ast.unparse(call.func))


def test_every_method_has_a_page():
    assert len(PAGES) >= 7 + 13
    for page in PAGES:
        task, method = name_of(page).split('/')
        assert method in recipes(task)


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_a_page_says_what_its_recipe_does(page):
    method = name_of(page)
    text = read(page)
    rows, part = table(text)
    terms = join_recipes(method)
    assert [code(row['term']) for row in rows] == list(terms)
    for row, (name, term) in zip(rows, terms.items(), strict=True):
        assert codes(row['tap']) == taps_of(term), name
        if 'schedule' in row:
            assert built(code(row['schedule'])) == term['schedule'], name
        assert float(row['weight']) == term['weight'], name
        said = built(code(row['loss']))
        assert {key: term['loss'][key] for key in said} == said, name
        for side in ('student', 'teacher'):
            own = connectors(term, side)
            cell = row.get(f"{side}'s connector")
            if cell is not None:
                assert ([built(word) for word in codes(cell)] or [None]) == own, name
            elif own != [None]:  # told below the table, for all terms alike
                told = [built(word) for word in re.findall('`(mmkd[^`]+)`', part)]
                assert all(one in told for one in own), name
        if 'VOC' in row:
            assert float(row['VOC']) == join_recipes(f'{method}_voc')[name]['weight']


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_options_and_files_on_a_page_exist(page):
    text, terms = read(page), join_recipes(name_of(page))
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
    known = recipes(name_of(page).split('/')[0])
    assert {name for names in re.findall(r'--recipe ([\w,]+)', text)
            for name in names.split(',')} <= set(known)
