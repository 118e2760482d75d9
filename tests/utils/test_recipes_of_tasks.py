"""Recipes of segmentation and of detection, some of the same name."""
import glob
import os

import pytest
from mmengine.config import Config

from mmkd.apis import compose, config_root, join_recipes, recipes
from mmkd.utils.configs import read_config
from mmkd.utils.recipes import join_terms, task_of

from .test_recipes import losses

SHARED = sorted(set(map(os.path.basename, glob.glob(f'{config_root()}/_base_/recipes/seg/*.py')))
                & set(map(os.path.basename, glob.glob(f'{config_root()}/_base_/recipes/det/*.py'))))


def test_there_are_names_that_two_tasks_have():
    assert {'cwd.py', 'mgd.py'} <= set(SHARED)


@pytest.mark.parametrize('name', [file[:-3] for file in SHARED])
def test_a_name_of_two_tasks(name):
    seg, det = (join_recipes(f'{task}/{name}') for task in ('seg', 'det'))
    assert seg != det
    assert join_recipes(name) == join_terms([name], task='seg') == seg
    assert join_terms([name], task='det') == det
    for task, other in (('seg', 'det'), ('det', 'seg')):
        known = recipes(task)
        assert known[name].endswith(os.path.join(task, f'{name}.py'))
        assert known[f'{other}/{name}'].endswith(os.path.join(other, f'{name}.py'))
        assert f'{task}/{name}' not in known


def test_every_recipe_is_found_by_its_name_and_with_its_folder():
    assert set(recipes('seg').values()) == set(recipes('det').values())
    for file in recipes().values():
        task, name = file[:-3].split(os.sep)[-2:]
        assert recipes(task)[name] == file
        assert join_recipes(f'{task}/{name}') == join_terms([name], task=task)


def test_plain_names_of_one_task_are_found_for_models_of_another():
    assert join_terms(['kd'], task='det') == join_recipes('kd')
    assert join_terms(['pkd'], task='seg') == join_recipes('det/pkd')


@pytest.mark.parametrize('student, task', [
    (dict(default_scope='mmdet', model=dict(type='RetinaNet')), 'det'),
    (dict(default_scope='mmseg', model=dict(type='mmdet.RetinaNet')), 'det'),
    (dict(default_scope='mmdet', model=dict(type='mmseg.EncoderDecoder')), 'seg'),
    (dict(default_scope='mmdet3d', model=dict(type='X')), 'det3d'),
    (dict(model=dict(type='EncoderDecoder')), 'seg'),
    (dict(default_scope='mmengine', model=dict(type='mmdet.GFL')), 'det')])
def test_the_students_library_decides(tmp_path, student, task):
    assert task_of(Config(student)) == task
    if task == 'det3d':
        return
    Config(student).dump(str(tmp_path / 'student.py'))
    path = str(tmp_path / 'student.py')
    cfg = compose(path, path, 'cwd', allow_random=True)
    assert cfg.model.distillations.to_dict() == join_recipes(f'{task}/cwd')
    cfg = compose(path, path, 'seg/cwd,det/cwd', allow_random=True)
    assert losses(cfg.model.distillations) == dict(logits='mmkd.CWDLoss', classes='mmkd.CWDLoss')


def test_the_students_library_decides_in_a_config(tmp_path):
    (tmp_path / 'student.py').write_text("default_scope = 'mmdet'\n")
    call = "from mmkd.apis import join_recipes\ndistillations = join_recipes('cwd')\n"
    for name, text, task in (('leaf', f"_base_ = 'student.py'\n{call}", 'det'),
                             ('own', f"default_scope = 'mmdet'\n{call}", 'det'),
                             ('changed', "_base_ = 'student.py'\ndefault_scope = 'mmseg'\n"
                              + call, 'seg'),
                             ('none', call, 'seg')):
        (tmp_path / f'{name}.py').write_text(text if '_base_' in text else f'_base_ = []\n{text}')
        cfg = read_config(tmp_path / f'{name}.py')
        assert cfg.distillations.to_dict() == join_recipes(f'{task}/cwd'), name


@pytest.mark.parametrize('name, near', [('det/cdw', 'det/cwd'), ('seg/fitnett', 'seg/fitnet'),
                                        ('det/kd', 'det/'), ('pkdd', 'pkd')])
def test_no_such_recipe_of_a_task(name, near):
    with pytest.raises(FileNotFoundError, match=f"no recipe '{name}'.*did you mean '{near}"):
        join_recipes(name)
