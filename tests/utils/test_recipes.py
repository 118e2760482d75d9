"""Recipes by name and by file, and several of them joined."""
import functools
import itertools
import os

import pytest
from mmengine.config import Config

from mmkd.apis import compose, config_root, join_recipes, recipes
from mmkd.utils.config_files import read_file
from mmkd.utils.configs import read_config
from tests.helpers import build, make_batch, save_teacher, tiny_segmentor

STUDENT = tiny_segmentor()
LEAF = ("model = dict(_delete_=True, type='mmkd.OfflineDistiller', student={{_base_.model}},\n"
        "             distillations=%s, teacher=dict(config=%r, allow_random=True))\n")


def losses(terms):
    return {name: term['loss']['type'] for name, term in terms.items()}


def own_recipe(path, **terms):
    Config(dict(distillations={name: dict(tap='head', weight=weight, loss=dict(
        type='mmkd.ATLoss')) for name, weight in terms.items()})).dump(str(path))
    return str(path)


@pytest.mark.parametrize('where', ['config', 'base', 'current'])
def test_a_file_is_found_beside_the_config_that_joins_it(tmp_path, monkeypatch, where):
    for folder in ('parent', 'parent/child', 'elsewhere'):
        (tmp_path / folder).mkdir()
    own_recipe(tmp_path / ('elsewhere' if where == 'current' else 'parent') / 'mine.py', extra=3.)
    leaf = tmp_path / 'parent' / 'leaf.py'
    leaf.write_text('_base_ = []\nfrom mmkd.apis import join_recipes\n'
                    "distillations = join_recipes('kd', 'mine.py', extra=dict(weight=5.))\n")
    (tmp_path / 'parent' / 'child' / 'leaf.py').write_text("_base_ = '../leaf.py'\n")
    monkeypatch.chdir(tmp_path / 'elsewhere')
    cfg = read_config(str(tmp_path / 'parent' / 'child' / 'leaf.py') if where == 'base' else leaf)
    assert losses(cfg.distillations) == dict(logits='mmkd.KDLoss', extra='mmkd.ATLoss')
    assert cfg.distillations.extra.weight == 5
    leaf.write_text(leaf.read_text().replace('mine.py', 'mime.py'))
    with pytest.raises(ValueError, match="recipe: config 'mime.py' does not exist.*looked in .*"
                                         'parent and .*elsewhere'):
        read_config(leaf)


@pytest.mark.parametrize('name', ['leaf.py', 'child.py'])
def test_an_import_above_base_is_told(tmp_path, name):
    (tmp_path / 'leaf.py').write_text('from mmkd.apis import join_recipes\n'
                                      "distillations = join_recipes('kd')\n")
    (tmp_path / 'child.py').write_text("_base_ = 'leaf.py'\n")
    with pytest.raises(ValueError, match=r'write _base_ = ... above the imports, or _base_ = \[\]'):
        read_config(tmp_path / name)


# ---- joining ----------------------------------------------------------------------------
@pytest.mark.parametrize('name', recipes())
def test_one_recipe_is_its_file(name):
    assert join_recipes(name) == read_config(recipes()[name]).distillations.to_dict()


@pytest.mark.parametrize('names', [('cwd', 'at'), ('cwd,at',), (' cwd , at ',), ('cwd', 'at,cwd')])
def test_a_name_that_means_two_things_tells_whose_it_is(names):
    assert losses(join_recipes(*names)) == dict(
        logits='mmkd.CWDLoss', at_logits='mmkd.KDLoss', feature='mmkd.ATLoss')


def test_equal_terms_are_one():
    assert losses(join_recipes('kd', 'at')) == dict(logits='mmkd.KDLoss', feature='mmkd.ATLoss')
    assert losses(join_recipes('cwd', 'kd', 'at', 'fitnet')) == dict(
        logits='mmkd.CWDLoss', kd_logits='mmkd.KDLoss', feature='mmkd.ATLoss',
        fitnet_feature='mmkd.FitNetLoss'), 'KD is the same term in all three'
    assert join_recipes('kd', 'kd') == join_recipes('kd')


@pytest.mark.parametrize('task', ['seg', 'det'])
def test_every_pair_of_recipes_keeps_every_term(task, monkeypatch):
    monkeypatch.setattr('mmkd.utils.recipes.read_file', functools.cache(read_file))
    own = [f'{task}/{os.path.basename(file)[:-3]}' for file in recipes(task).values()
           if os.path.basename(os.path.dirname(file)) == task]
    alone = {name: list(join_recipes(name).values()) for name in own}
    for first, second in itertools.combinations(own, 2):
        terms = list(join_recipes(first, second).values())
        for term in (*alone[first], *alone[second]):
            assert terms.count(term) == 1


def test_files_and_names_mix(tmp_path):
    mine = own_recipe(tmp_path / 'my, own-recipe.py', logits=7., extra=2.)
    terms = join_recipes('cwd', mine)
    assert losses(terms) == dict(logits='mmkd.CWDLoss', my__own_recipe_logits='mmkd.ATLoss',
                                 extra='mmkd.ATLoss')
    assert terms['my__own_recipe_logits']['weight'] == 7.
    taken = own_recipe(tmp_path / 'x.py', logits=1., x_logits=3.)
    with pytest.raises(ValueError, match="'logits' would be called 'x_logits'.*taken.*rename"):
        join_recipes('cwd', own_recipe(tmp_path / 'b.py', x_logits=2.), taken)


def test_changes():
    terms = join_recipes('cwd', 'at', logits=dict(weight=5., loss=dict(tau=2.)), at_logits=None,
                         more=dict(tap='neck', loss=dict(type='mmkd.KDLoss')))
    assert terms['logits'] == dict(tap='logits', weight=5., loss=dict(type='mmkd.CWDLoss', tau=2.))
    assert list(terms) == ['logits', 'feature', 'more']
    for wrong in (dict(logit=dict(weight=5.)), dict(logit=None)):
        with pytest.raises(ValueError, match="no term 'logit' in 'cwd'.*did you mean 'logits'"):
            join_recipes('cwd', **wrong)


@pytest.mark.parametrize('names, error, parts', [
    (['cdw'], FileNotFoundError, ["no recipe 'cdw'", "did you mean 'cwd'"]),
    (['CWD'], FileNotFoundError, ["no recipe 'CWD'", "did you mean 'cwd'"]),
    (['at', 'Fit-Net'], FileNotFoundError, ["no recipe 'Fit-Net'", "did you mean 'fitnet'"]),
    ([''], ValueError, ['no recipe is named', 'cirkd']),
    ([','], ValueError, ['no recipe is named']),
    ([3], ValueError, ['a recipe is a name or the path of a file, not 3']),
    ([['cwd']], ValueError, ["not ['cwd']"]),
])
def test_no_such_recipe(names, error, parts):
    with pytest.raises(error) as told:
        join_recipes(*names)
    for part in parts:
        assert part in str(told.value)


def test_a_file_that_is_no_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_recipe('mine.py', logits=1.)
    with pytest.raises(FileNotFoundError, match="recipe: .*'myne.py' does not.*mean 'mine.py'"):
        join_recipes('myne.py')
    for text in ('x = 1', 'distillations = dict()', 'distillations = dict(logits=None)',
                 'distillations = [dict(tap="logits")]'):
        (tmp_path / 'bad.py').write_text(text)
        with pytest.raises(ValueError, match=r"recipe 'bad.py' defines no distillations"):
            join_recipes('kd', 'bad.py')


# ---- in configs -------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path):
    save_teacher(tmp_path)
    Config(dict(default_scope='mmseg', model=STUDENT)).dump(str(tmp_path / 'student.py'))
    return tmp_path


def test_composed(folder):
    paths = [str(folder / f'{name}.py') for name in ('student', 'teacher')]
    for recipe in ('cwd,at', ['cwd', 'at'], ('cwd', recipes()['at'])):
        cfg = compose(*paths, recipe, allow_random=True)
        assert losses(cfg.model.distillations) == losses(join_recipes('cwd', 'at'))
    model = build(cfg.model)
    logged = model(**model.data_preprocessor(make_batch(), True), mode='loss')
    assert {'loss_logits', 'loss_at_logits', 'loss_feature'} <= set(logged)


def test_all_that_is_wrong_is_told_together(folder):
    with pytest.raises(ValueError) as told:
        compose(str(folder / 'studnet.py'), str(folder / 'techer.py'), 'kd,cdw')
    for part in ("did you mean 'student.py'", "did you mean 'teacher.py'", "did you mean 'cwd'",
                 'student: ', 'teacher: '):
        assert part in str(told.value)
    with pytest.raises(FileNotFoundError, match="^teacher: .*did you mean 'teacher.py'"):
        compose(str(folder / 'student.py'), str(folder / 'techer.py'), 'kd')


def test_what_a_recipe_imports_comes_along(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    (folder / 'my_loss.py').write_text('')
    own_recipe(folder / 'mine.py', logits=1.)
    with open(folder / 'mine.py', 'a') as file:
        file.write("custom_imports = dict(imports='my_loss')\n")
    cfg = compose(str(folder / 'student.py'), str(folder / 'teacher.py'),
                  ['kd', str(folder / 'mine.py')], allow_random=True)
    assert cfg.custom_imports.imports == ['my_loss']


def test_joined_in_a_config_file(folder):
    (folder / 'leaf.py').write_text(
        "_base_ = 'student.py'\nfrom mmkd.apis import join_recipes\n"
        + LEAF % ("join_recipes('cwd', 'at', feature=dict(weight=2.))", str(folder / 'teacher.py')))
    (folder / 'child.py').write_text(
        "_base_ = 'leaf.py'\nmodel = dict(distillations=dict(logits=dict(weight=5.)))\n")
    cfg = read_config(folder / 'child.py')
    cfg.dump(str(folder / 'dumped.py'))
    for read in (cfg, Config.fromfile(folder / 'child.py'), Config.fromfile(folder / 'dumped.py')):
        terms = read.model.distillations
        assert {name: term.weight for name, term in terms.items()} == dict(
            logits=5., at_logits=1., feature=2.)
        assert 'join_recipes' not in read
    build(cfg.model)


def test_two_recipes_in_base_are_told_what_to_do(folder):
    (folder / 'leaf.py').write_text(
        f"_base_ = ['student.py', {recipes()['cwd']!r}, {recipes()['at']!r}]\n"
        + LEAF % ('{{_base_.distillations}}', str(folder / 'teacher.py')))
    with pytest.raises(ValueError) as told:
        read_config(folder / 'leaf.py')
    for part in ('leaf.py', 'two recipes in _base_', 'from mmkd.apis import join_recipes',
                 "distillations=join_recipes('cwd', 'at')"):
        assert part in str(told.value)
    assert 'no config that mmengine can read' not in str(told.value)


def test_other_keys_that_two_bases_have_are_told(folder):
    (folder / 'leaf.py').write_text("_base_ = ['student.py', 'teacher.py']\n")
    with pytest.raises(ValueError, match="leaf.py' has files in _base_ that both define "
                                         "'(model|default_scope)'.*keep one"):
        read_config(folder / 'leaf.py')


def test_mmkd_in_base_is_told_what_to_write(folder):
    (folder / 'leaf.py').write_text("_base_ = ['student.py', 'mmkd::_base_/recipes/seg/cwd.py']\n")
    with pytest.raises(ValueError) as told:
        read_config(folder / 'leaf.py')
    for part in ("'mmkd::...' in _base_", "join_recipes('cwd')", config_root()):
        assert part in str(told.value)


def test_mmkd_as_a_name():
    name = 'seg/cwd/cwd_pspnet-r101_pspnet-r18_4xb2-80k_cityscapes-512x1024.py'
    assert read_config(f'mmkd::{name}').model == read_config(
        os.path.join(config_root(), name)).model
    assert losses(join_recipes('mmkd::_base_/recipes/seg/cwd.py')) == losses(join_recipes('cwd'))
    with pytest.raises(FileNotFoundError, match=f"mmkd has no config.*did you mean '{name}'"):
        read_config(f"mmkd::{name.replace('scapes', 'scape')}")
