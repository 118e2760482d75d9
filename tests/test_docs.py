"""What pages of documentation name is there: files, links, recipes, classes, taps, losses."""
import ast
import glob
import os
import re

import pytest
import torch
from mmengine.registry import init_default_scope

from mmkd.apis import config_root, recipes
from mmkd.registry import DATASETS, HOOKS, MODELS, OPTIM_WRAPPERS, TRANSFORMS

ROOT = os.path.dirname(config_root())
PAGES = ['README.md', 'CONTRIBUTING.md', *sorted(
    os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, 'docs', '*.md')))]
PAGE = 'docs/detection3d.md'


def read(page):
    with open(os.path.join(ROOT, page), encoding='utf-8') as file:
        return file.read()


def blocks(text, language):
    """The code of the page's blocks in a language."""
    return re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL)


def recipe_names(text):
    return {name for names in re.findall(r'--recipes? ((?:[\w,/.]+ ?)+)', text)
            for name in re.split('[ ,]', names) if name}


def known_recipes():
    return {name for task in ('seg', 'det', 'det3d') for one in recipes(task)
            for name in (one, f'{task}/{one}')}


@pytest.mark.parametrize('page', PAGES)
def test_files_and_links_exist(page):
    text = read(page)
    for link in re.findall(r'\]\((?!http)([^)#\s]+)', text):
        assert os.path.exists(os.path.join(ROOT, os.path.dirname(page), link)), link
    for file in re.findall(r'(?<![\w/:.])(?:configs|tools)/[\w./-]+\.(?:py|sh)\b', text):
        assert os.path.isfile(os.path.join(ROOT, file)), file


@pytest.mark.parametrize('page', PAGES)
def test_recipes_exist(page):
    named = {name for name in recipe_names(read(page)) if '.py' not in name}
    assert named - {'xyz'} <= known_recipes()


@pytest.mark.parametrize('page', PAGES)
def test_classes_exist(page):
    text = read(page)
    own = set(re.findall(r'^class (\w+)', text, re.MULTILINE))
    registries = (MODELS, DATASETS, TRANSFORMS, HOOKS, OPTIM_WRAPPERS)
    for name in set(re.findall(r"(?:`|type=')mmkd\.([A-Z]\w+)", text)) - own:
        assert any(registry.get(f'mmkd.{name}') for registry in registries), name


@pytest.mark.parametrize('page', PAGES)
def test_python_can_be_read(page):
    for code in blocks(read(page), 'python'):
        tree = ast.parse(code.replace('{{', '"').replace('}}', '"').replace('...', 'None'))
        assert tree.body


def test_every_recipe_and_tap_of_3d_detectors_has_its_place():
    from mmkd.models.libraries.mmdet3d_names import MEANINGS
    text = read(PAGE)
    told = set(re.findall('`([a-z0-9_]+)`', text))
    own = {name for name, path in recipes('det3d').items()
           if os.path.basename(os.path.dirname(path)) == 'det3d'}
    assert len(own) >= 18 and own <= told
    assert set(MEANINGS) - told <= {'centerness', 'backbone'}
    taps = text.split('| tap | tensor |')[1].split('\n\n')[0]
    assert set(re.findall('`([a-z0-9_]+)`', taps)) <= set(MEANINGS)


def test_the_loss_of_ones_own_measures_near_boxes():
    """Of the page, on maps of 8 x 4 cells of 1 m: errors inside a box of 2 x 2 m count alone."""
    init_default_scope('mmdet3d')
    code, = [code for code in blocks(read(PAGE), 'python') if 'class NearBoxesLoss' in code]
    names = {}
    exec(compile(code.replace('@MODELS.register_module()', ''), PAGE, 'exec'), names)
    box = torch.tensor([[6., 1., 0, 2., 2., 1., 0.]])  # x 5 to 7, y 0 to 2
    student, teacher = torch.zeros(1, 3, 4, 8, requires_grad=True), torch.zeros(1, 3, 4, 8)
    teacher[0, :, 1, 5] = 2.  # [y, x], in the box
    teacher[0, :, 3, 0] = 9.  # not
    loss = names['NearBoxesLoss']()(student, teacher, [box], (0., 0., 8., 4.))
    assert loss.item() == pytest.approx(4 / 4)
    loss.backward()
    assert student.grad[0, :, 1, 5].abs().min() > 0 and student.grad[0, :, 3].abs().max() == 0
    assert names['NearBoxesLoss']()(student, teacher, [box[:0]], (0., 0., 8., 4.)).item() == 0
