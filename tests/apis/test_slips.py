"""The likeliest slips in a distill config, each told with its cure before anything is trained."""
import copy

import pytest
from mmengine.config import Config

from mmkd.apis import join_recipes, merge_options, prepare, recipes
from mmkd.registry import MODELS
from mmkd.utils.configs import load_model_config, read_config
from tests.cli import load_tool
from tests.helpers import build, save_teacher, tiny_distiller, tiny_segmentor

MODEL = dict(_delete_=True, type='mmkd.OfflineDistiller', student='{{_base_.model}}',
             distillations='{{_base_.distillations}}')


@pytest.fixture
def folder(tmp_path):
    save_teacher(tmp_path)
    Config(dict(default_scope='mmseg', model=tiny_segmentor(aux=True))).dump(
        str(tmp_path / 'student.py'))
    return tmp_path


def write(folder, name='leaf.py', recipe='cwd', more='', key='model', **changes):
    """A distill config with some of its keys changed, or left out by ``...``."""
    model = {**MODEL, 'teacher': dict(config=str(folder / 'teacher.py'), allow_random=True),
             **changes}
    text = ', '.join(f'{k}={v!r}' for k, v in model.items() if v is not ...)
    text = text.replace("'{{", '{{').replace("}}'", '}}')
    bases = ['student.py'] + ([recipes()[recipe]] if recipe else [])
    (folder / name).write_text(f'_base_ = {bases!r}\n{key} = dict({text})\n{more}\n')
    return folder / name


def build_as_the_tools_do(file, **options):
    cfg = read_config(file)
    merge_options(cfg, options)
    return build(prepare(cfg).model)


def told(file, *parts, **options):
    with pytest.raises(ValueError) as error:
        build_as_the_tools_do(file, **options)
    for part in parts:
        assert part in str(error.value)
    return str(error.value)


def test_without_slips(folder):
    build_as_the_tools_do(write(folder))


def test_delete_forgotten(folder):
    message = told(write(folder, _delete_=...), 'auxiliary_head, backbone, decode_head',
                   '_delete_=True', 'student={{_base_.model}}')
    assert message.count('  - ') == 1
    message = told(write(folder, _delete_=..., student=...), 'backbone, decode_head',
                   '_delete_=True', 'student={{_base_.model}}')
    assert message.count('  - ') == 1, 'one slip, one line'
    told(write(folder, _delete_=..., student=dict(config=str(folder / 'student.py'))),
         'backbone, decode_head', '_delete_=True')


def test_delete_where_there_is_nothing_to_delete(folder):
    file = write(folder)
    file.write_text(file.read_text().replace("'student.py', ", '').replace(
        '{{_base_.model}}', f"dict(config={str(folder / 'student.py')!r})"))
    build_as_the_tools_do(file)


@pytest.mark.parametrize('wrong, right', [
    ('distilations', 'distillations'), ('distillation', 'distillations'), ('teachers', 'teacher'),
    ('studnet', 'student'), ('Teacher', 'teacher'), ('data_preprocesor', 'data_preprocessor')])
def test_a_key_misspelt(folder, wrong, right):
    value = dict(MODEL, teacher=dict(config=str(folder / 'teacher.py'), allow_random=True)).get(
        right, dict(type='SegDataPreProcessor'))
    message = told(write(folder, **{right: ..., wrong: value}),
                   f"has no key '{wrong}'", f"did you mean '{right}'")
    assert right == 'data_preprocessor' or f'{right} is missing: write {right}=' in message
    # mmengine makes a new key of it on the command line, too.
    told(write(folder), f"has no key '{wrong}'", f"did you mean '{right}'",
         **{f'model.{wrong}.logits.weight': 5})


@pytest.mark.parametrize('key, cure', [
    ('student', 'student={{_base_.model}}'),
    ('teacher', 'teacher=dict(config=..., checkpoint=...)'),
    ('distillations', 'distillations={{_base_.distillations}}')])
def test_a_key_forgotten(folder, key, cure):
    told(write(folder, **{key: ...}), f'{key} is missing: write {cure}')
    told(write(folder, **{key: None}), f'{key} is missing: write {cure}')
    message = told(write(folder, student=..., teacher=..., distillations=...), cure)
    assert message.count('is missing') == 3, 'all in one message'


@pytest.mark.parametrize('kind', ['OfflineDistiller', 'mmkd.OfflineDistiller'])
def test_the_type_with_and_without_its_library(folder, kind):
    file = write(folder, type=kind)
    model = build_as_the_tools_do(file)
    assert type(model).__name__ == 'OfflineDistiller'
    assert load_model_config(str(file))[0].type == 'mmseg.EncoderDecoder'


def test_the_type_misspelt_or_forgotten(folder):
    told(write(folder, type='mmkd.OfflineDistler'), "no type 'mmkd.OfflineDistler'",
         "did you mean 'mmkd.OfflineDistiller'")
    told(write(folder, type=...), "its type is None", "type='mmkd.OfflineDistiller'")
    told(write(folder, type=..., _delete_=...), "its type is 'mmseg.EncoderDecoder'",
         "type='mmkd.OfflineDistiller'")


def test_a_recipe_whose_terms_reach_no_model(folder):
    told(write(folder, key='x'), 'nothing would be distilled', "'mmseg.EncoderDecoder'", '_delete_')
    told(write(folder, key='modle'), 'nothing would be distilled', "did you mean 'modle'")
    (folder / 'empty.py').write_text(f'_base_ = {recipes()["cwd"]!r}\n')
    told(folder / 'empty.py', 'has no model')


def test_what_base_lacks_is_named(folder):
    for recipe, changes, key in ((None, {}, 'distillations'),
                                 ('kd', dict(student='{{_base_.modle}}'), 'modle')):
        with pytest.raises(ValueError, match=f"'{key}', which no file in _base_ defines"):
            read_config(write(folder, recipe=recipe, **changes))
    file = write(folder)
    file.write_text(file.read_text().replace('student.py', 'studnet.py'))
    with pytest.raises(ValueError, match="studnet.py' does not exist; did you mean 'student.py'"):
        read_config(file)


# ---- the command line -------------------------------------------------------------------
@pytest.mark.parametrize('option, cure', [
    ('distillations.logits.weight', 'write model.distillations.logits.weight'),
    ('modle.distillations.logits.weight', "did you mean 'model'"),
    ('tran_cfg.max_iters', "did you mean 'train_cfg'"),
    ('optim_wraper.optimizer.lr', "did you mean 'optim_wrapper'"),
    ('lr', 'nothing would read it')])
def test_an_option_that_nothing_reads(folder, option, cure):
    told(write(folder), f'--cfg-options {option}', cure, **{option: 5})


def test_options_that_something_reads(folder):
    cfg = read_config(write(folder, more='mine = 3'))
    merge_options(cfg, {'model.distillations.logits.weight': 5., 'randomness.seed': 3,
                        'train_cfg.max_iters': 7, 'load_from': 'x.pth', 'mine': 4,
                        'find_unused_parameters': True, 'env_cfg.cudnn_benchmark': True})
    assert (cfg.model.distillations.logits.weight, cfg.randomness.seed, cfg.mine) == (5., 3, 4)


@pytest.mark.parametrize('option', ['custom_hooks.0.type', 'train_cfg.0', 'mine.1.a'])
def test_a_place_where_there_is_no_list(folder, option):
    told(write(folder, more='mine = 3'), f'--cfg-options {option}: ', 'is no list', **{option: 5})


def test_a_place_in_a_list(folder):
    cfg = read_config(write(folder, more="mine = [dict(a=1)]\nby_number = {'0': 1}"))
    merge_options(cfg, {'mine.0.a': 2, 'by_number.0': 3})
    assert cfg.mine[0].a == 2 and cfg.by_number['0'] == 3


@pytest.mark.parametrize('word, part', [
    ('custom_hooks=[1,dict(a=1,b=2)]', 'a dict cannot be written here'),
    ('custom_hooks=[dict(type="EMAHook")]', 'a dict cannot be written here'),
    ("a={'b':1}", 'a dict cannot be written here'), ('a.b', "'a.b' is no KEY=VALUE"),
    ('=3', "'=3' is no KEY=VALUE"), ('a=[[1,2],[3]', 'Imbalanced brackets')])
def test_words_that_the_command_line_cannot_read(word, part, capsys):
    for tool, args in (('train', ['x.py']), ('export_student', ['x.py', 'x.pth'])):
        with pytest.raises(SystemExit) as stopped:
            load_tool(tool).parse_args([*args, '--cfg-options', word])
        assert stopped.value.code == 2
        assert 'argument --cfg-options: ' in (text := capsys.readouterr().err) and part in text


def test_words_that_it_can_read():
    args = load_tool('train').parse_args(['x.py', '--cfg-options', 'a.b=[1,(2,3)]', 'c={d}', 'e='])
    assert args.cfg_options == {'a.b': [1, (2, 3)], 'c': '{d}', 'e': ''}


def test_an_option_through_a_value_that_has_no_keys(folder):
    told(write(folder), '--cfg-options model.type.name', 'cannot inherit',
         **{'model.type.name': 3})


def test_a_distiller_built_without_the_tools_says_the_same():
    cfg = copy.deepcopy(tiny_distiller('kd'))
    for changes, part in ((dict(backbone={}), '_delete_=True'),
                          (dict(teacher=None), 'teacher is missing'),
                          (dict(recipe='kd'), "no key 'recipe'")):
        with pytest.raises(ValueError, match=part):
            MODELS.build({**cfg, **changes})
    assert join_recipes('kd') == cfg['distillations']
