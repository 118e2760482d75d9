"""What is wrong with a comparison is told before anything is trained, all of it at once."""
import json
import os
import re

import pytest
import torch
from mmengine.config import Config

from mmkd.apis import config_root
from mmkd.results.comparison import Plan
from mmkd.results.comparison.identity import fingerprint
from mmkd.results.comparison.plan import only_one
from tests.cli import load_tool, write_project

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp('project'), train=2, val=1)
    (folder / 'mine').mkdir()
    recipe = os.path.join(config_root(), '_base_', 'recipes', 'seg', 'cwd.py')
    (folder / 'mine' / 'cwd.py').write_text(
        f'_base_ = {recipe!r}\ndistillations = dict(logits=dict(weight=5.))\n')
    (folder / 'mine' / 'student.py').write_text(f'_base_ = {recipe!r}\n')
    (folder / 'empty.py').write_text('distillations = dict()\n')
    (folder / 'no_val.py').write_text("_base_ = 'student.py'\nval_evaluator = None\n")
    (folder / 'no_data.py').write_text(
        "_base_ = 'student.py'\ntrain_dataloader = dict(dataset=dict(data_root='gone'))\n")
    (folder / 'no_scalars.py').write_text(
        "_base_ = 'student.py'\n"
        "visualizer = dict(vis_backends=[dict(type='TensorboardVisBackend')])\n")
    return folder


@pytest.fixture(autouse=True)
def there(project, monkeypatch):
    monkeypatch.chdir(project)


def plan(tmp_path, *words, student='student.py', teacher='teacher.py', recipes=('kd',),
         weights=('--teacher-checkpoint', 'teacher.pth')):
    args = load_tool('compare').parse_args([
        '--student', student, '--teacher', teacher, *weights, '--out', str(tmp_path / 'out'),
        '--recipes', *recipes, *words])
    return Plan(args)


def test_the_runs_of_a_comparison(tmp_path):
    made = plan(tmp_path, '--seeds', '5', '7', recipes=('kd', 'kd,at', 'mine/cwd.py'))
    folders = [os.path.relpath(run.folder, made.out) for run in made.runs]
    assert folders == ['teacher', *(f'{name}/seed{seed}' for seed in (5, 7)
                                    for name in ('kd', 'kd+at', 'cwd', 'student'))]
    assert made.runs[0].next_step().name == 'val'  # its weights are there: only evaluated
    for run in made.runs[1:]:
        words = run.next_step().command
        assert words[1].endswith('train.py') and '--resume' not in words
        assert f'randomness.seed={run.seed}' in words and run.config.randomness.seed == run.seed
        assert ('--recipe' in words) == (run.name != 'student')
    assert made.taught['cwd'][0].config.model.distillations.logits.weight == 5.
    assert set(made.taught['kd+at'][0].config.model.distillations) == {'logits', 'feature'}
    assert os.listdir(made.out) == ['.lock']  # planning writes nothing else


def test_an_evaluation_finds_modules_beside_the_configs(tmp_path):
    for name in ('student', 'teacher'):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f'part_of_{name}.py').write_text('')
        (folder / f'{name}.py').write_text(
            f"_base_ = {os.path.abspath(f'{name}.py')!r}\n"
            f"custom_imports = dict(imports='part_of_{name}')\n")
    for weights in (['--train-teacher'], ['--teacher-checkpoint', 'teacher.pth']):
        made = plan(tmp_path / weights[0], student=str(tmp_path / 'student' / 'student.py'),
                    teacher=str(tmp_path / 'teacher' / 'teacher.py'), weights=weights)
        for name, run in (('student', made.alone[0]), ('teacher', made.teacher)):
            step = run._evaluation('val')
            run.began(step, 1)
            written = Config.fromfile(os.path.join(os.path.dirname(step.log), 'model.py'),
                                      import_custom_modules=False)
            assert f'part_of_{name}' in written.custom_imports.imports
            assert str(tmp_path / name) in written.custom_import_folders


def test_options_are_the_students_and_the_teachers(tmp_path):
    made = plan(tmp_path, '--cfg-options', 'train_cfg.max_iters=7', '--teacher-cfg-options',
                'train_cfg.max_iters=9', weights=['--train-teacher'])
    assert [run.length for run in made.runs[:3]] == [9, 7, 7]
    assert 'train_cfg.max_iters=9' in made.teacher.next_step().command
    assert 'train_cfg.max_iters=7' in made.alone[0].next_step().command
    assert made.taught['kd'][0].needs is made.teacher and made.alone[0].needs is None


@pytest.mark.parametrize('said, words, others', [
    (r"no recipe 'kdd'.*did you mean 'kd'", [], dict(recipes=['kdd'])),
    (r"'mine/gone.py' does not exist", [], dict(recipes=['kd', 'mine/gone.py'])),
    (r"'empty.py' defines no distillations", [], dict(recipes=['empty.py'])),
    (r"'cwd' and 'mine/cwd.py' have the same name, 'cwd'", [],
     dict(recipes=['cwd', 'mine/cwd.py'])),
    (r"'mine/student.py' can't be called 'student'", [], dict(recipes=['mine/student.py'])),
    (r"checkpoint .*/techer.pth' does not exist; did you mean 'teacher.pth'", [],
     dict(weights=['--teacher-checkpoint', 'techer.pth'])),
    (r"teacher.py' .*not a torch checkpoint", [],
     dict(weights=['--teacher-checkpoint', 'teacher.py'])),
    (r"student: config 'studnt.py' does not exist; did you mean 'student.py'", [],
     dict(student='studnt.py')),
    (r"teacher: config 'tacher.py' does not exist; did you mean 'teacher.py'", [],
     dict(teacher='tacher.py')),
    (r"student: 'distill.py' is a distillation", [], dict(student='distill.py')),
    (r'no val_dataloader and val_evaluator', [], dict(student='no_val.py')),
    (r'gone.*does not exist', [], dict(student='no_data.py')),
    (r'writes no scalars.json.*LocalVisBackend', [], dict(student='no_scalars.py')),
    (r'--seeds: 3 more than once', ['--seeds', '3', '1', '3'], {}),
    (r'--cfg-options: model.backbone.depth', ['--cfg-options', 'model.backbone.depth=34'], {}),
    (r'--cfg-options: randomness.seed', ['--cfg-options', 'randomness.seed=4'], {}),
    (r'--teacher-cfg-options: the teacher is not trained',
     ['--teacher-cfg-options', 'train_cfg.max_iters=3'], {}),
    (r"no metric 'mIou' \(it has aAcc, mIoU, mAcc\); did you mean 'mIoU'",
     ['--metric', 'mIou'], {}),
])
def test_what_is_wrong_is_told(tmp_path, said, words, others):
    with pytest.raises(ValueError) as error:
        plan(tmp_path, *words, **others)
    assert re.search(said, str(error.value), re.DOTALL), error.value
    assert not (tmp_path / 'out').exists()


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(ValueError) as error:
        plan(tmp_path, '--seeds', '1', '1', student='studnt.py', recipes=['kdd'])
    for said in ('studnt.py', 'kdd', '--seeds'):
        assert said in str(error.value)


def test_an_out_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / 'out').write_text('a file')
    with pytest.raises(ValueError, match=r'--out: .*out.* is a file'):
        plan(tmp_path)
    (tmp_path / 'out').unlink()
    with pytest.raises(ValueError, match=r'--out: .*cannot be made'):
        args = load_tool('compare').parse_args(
            ['--student', 'student.py', '--teacher', 'teacher.py', '--train-teacher',
             '--recipes', 'kd', '--out', '/proc/nowhere/out'])
        Plan(args)


@pytest.mark.parametrize('words', [
    [], ['--jobs', '0'], ['--jobs', 'x'], ['--pictures', '-1'], ['--seeds'],
    ['--split', 'train'], ['--train-teacher']])
def test_bad_arguments_exit_with_2(words, capsys):
    start = ['--student', 's', '--teacher', 't', '--recipes', 'kd', '--out', 'o']
    start += ['--teacher-checkpoint', 'f'] if words else []
    with pytest.raises(SystemExit) as error:
        load_tool('compare').parse_args([*start, *words])
    assert error.value.code == 2 and 'usage:' in capsys.readouterr().err


# ---- what is there -----------------------------------------------------------------------------
def begin(made):
    """Note of every run that it has begun, as the scheduler does."""
    for run in made.runs[1:]:
        run.began(run.next_step(), threads=1)


def test_runs_that_began_are_resumed(tmp_path):
    begin(plan(tmp_path))
    for run in plan(tmp_path).runs[1:]:
        assert run.next_step().command[-1] == '--resume' and run.threads == 1


@pytest.mark.parametrize('change, said', [
    (dict(words=['--cfg-options', 'train_cfg.max_iters=5']),
     r'kd/seed0: train_cfg.max_iters: 4 instead of 5'),
    (dict(words=['--cfg-options', 'optim_wrapper.optimizer.lr=0.5']),
     r'student/seed0: optim_wrapper.optimizer.lr: 0.01 instead of 0.5'),
    (dict(teacher_too=True), r'kd/seed0: model.teacher.checkpoint: '),
    (dict(recipe='distillations = dict(logits=dict(weight=9.))'),
     r'mine/seed0: model.distillations.logits.weight: 3.0 instead of 9.0'),
])
def test_a_changed_config_is_told(tmp_path, project, change, said):
    mine = tmp_path / 'mine.py'
    base = os.path.join(config_root(), '_base_', 'recipes', 'seg', 'cwd.py')
    mine.write_text(f'_base_ = {base!r}\n')
    recipes = ['kd', str(mine)]
    begin(plan(tmp_path, recipes=recipes))
    plan(tmp_path, recipes=recipes)  # nothing changed
    mine.write_text(mine.read_text() + change.get('recipe', ''))
    weights = ['--teacher-checkpoint', 'teacher.pth']
    if change.get('teacher_too'):
        torch.save(dict(state_dict=dict(w=torch.ones(1))), tmp_path / 'other.pth')
        weights[1] = str(tmp_path / 'other.pth')
    with pytest.raises(ValueError) as error:
        plan(tmp_path, *change.get('words', []), recipes=recipes, weights=weights)
    assert re.search(said, str(error.value)) and 'Give another --out' in str(error.value)


def test_another_recipe_or_seed_is_no_change(tmp_path):
    begin(plan(tmp_path, '--seeds', '0'))
    made = plan(tmp_path, '--seeds', '0', '1', recipes=['kd', 'mgd'])
    assert [run.next_step().command[-1] == '--resume' for run in made.runs[1:]] == [
        True, False, True, False, False, False]


def test_a_folder_with_another_training_is_told(tmp_path):
    (tmp_path / 'out' / 'kd' / 'seed0').mkdir(parents=True)
    (tmp_path / 'out' / 'kd' / 'seed0' / 'iter_4.pth').write_bytes(b'')
    with pytest.raises(ValueError, match=r'kd/seed0: iter_4.pth is there, of no comparison'):
        plan(tmp_path)


def test_the_fingerprint_is_the_contents():
    one = dict(a=1, b=[1, dict(c=2.)])
    assert fingerprint(one) == fingerprint(json.loads(json.dumps(one)))
    assert fingerprint(dict(b=one['b'], a=1)) == fingerprint(one)
    assert fingerprint(dict(a=1, b=[1, dict(c=3.)])) != fingerprint(one)


def test_one_comparison_at_a_time(tmp_path):
    with only_one(str(tmp_path)):
        with pytest.raises(ValueError, match='still runs in'):
            with only_one(str(tmp_path)):
                pass
    with only_one(str(tmp_path)):
        pass
