"""Relative paths in a distill config: beside the file that writes them, then the current folder."""
import os

import pytest
from mmengine.config import Config

from mmkd.apis import prepare, recipes
from mmkd.models.teacher import build_teacher
from mmkd.utils.checkpoint import safe_load
from mmkd.utils.configs import read_config
from mmkd.utils.paths import does_not_exist
from tests.helpers import build, save_teacher, tiny_segmentor

TEACHER = "dict(config='teacher.py', checkpoint='teacher.pth')"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """``project/`` with a student, a teacher and its weights; the current folder is empty."""
    folder, current = tmp_path / 'project', tmp_path / 'current'
    folder.mkdir()
    current.mkdir()
    monkeypatch.chdir(current)
    save_teacher(folder)
    Config(dict(default_scope='mmseg', model=tiny_segmentor())).dump(str(folder / 'student.py'))
    return folder


def write(folder, teacher=TEACHER, student='{{_base_.model}}', name='leaf.py'):
    (folder / name).write_text(
        f"_base_ = [{str(folder / 'student.py')!r}, {recipes()['kd']!r}]\n"
        "model = dict(_delete_=True, type='mmkd.OfflineDistiller',\n"
        f"    student={student}, distillations={{{{_base_.distillations}}}}, teacher={teacher})\n")
    return folder / name


def message_of(function, *args):
    with pytest.raises((FileNotFoundError, ValueError)) as told:
        function(*args)
    return str(told.value)


def test_beside_the_config(project, monkeypatch):
    cfg = read_config(write(project))
    assert cfg.model.teacher.config == str(project / 'teacher.py')
    assert cfg.model.teacher.checkpoint == str(project / 'teacher.pth')
    build(cfg.model)
    monkeypatch.chdir(project)  # the config itself by a relative path
    assert read_config('leaf.py').model.teacher == cfg.model.teacher


def test_what_is_written_is_good_in_any_folder(project, tmp_path, monkeypatch):
    cfg = prepare(read_config(write(project)))
    (tmp_path / 'work').mkdir()
    cfg.dump(str(tmp_path / 'work' / 'leaf.py'))
    monkeypatch.chdir('/')
    again = read_config(tmp_path / 'work' / 'leaf.py')
    assert again.model.teacher == cfg.model.teacher
    build(again.model)


def test_in_the_current_folder(project, monkeypatch):
    (project / 'configs').mkdir()
    file = write(project).rename(project / 'configs' / 'leaf.py')
    monkeypatch.chdir(project)
    assert read_config(file).model.teacher.config == str(project / 'teacher.py')


def test_beside_comes_before_the_current_folder(project, tmp_path):
    (tmp_path / 'current' / 'teacher.py').write_text('model = dict()')
    assert read_config(write(project)).model.teacher.config == str(project / 'teacher.py')


def test_a_child_elsewhere_inherits_its_base_paths(project, tmp_path):
    write(project)
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'teacher.py').write_text('model = dict()')  # not what the base means
    (other / 'child.py').write_text(f"_base_ = {str(project / 'leaf.py')!r}\n")
    assert read_config(other / 'child.py').model.teacher.config == str(project / 'teacher.py')
    (other / 'own.py').write_text(f"_base_ = {str(project / 'leaf.py')!r}\n"
                                  "model = dict(teacher=dict(config='teacher.py'))\n")
    assert read_config(other / 'own.py').model.teacher.config == str(other / 'teacher.py')


def test_several_teachers_and_a_student_by_its_file(project):
    cfg = read_config(write(project, f'dict(a={TEACHER}, b={TEACHER})',
                            "dict(config='student.py')"))
    assert cfg.model.teacher.b.checkpoint == str(project / 'teacher.pth')
    assert cfg.model.student.config == str(project / 'student.py')


@pytest.mark.parametrize('path', ['mmseg::fcn/fcn_unet.py', 'https://host/x.pth', 's3://b/x.pth'])
def test_what_is_no_path_stays(project, path):
    teacher = read_config(write(project, f'dict(config={path!r}, checkpoint={path!r})')
                          ).model.teacher
    assert (teacher.config, teacher.checkpoint) == (path, path)


def test_paths_of_the_command_line_are_the_current_folders(project, tmp_path):
    cfg = read_config(write(project))
    (tmp_path / 'current' / 'teacher.pth').write_bytes(b'')
    cfg.merge_from_dict({'model.teacher.checkpoint': 'teacher.pth'})
    assert prepare(cfg).model.teacher.checkpoint == str(tmp_path / 'current' / 'teacher.pth')


def test_the_home_folder(project, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(project))
    teacher = read_config(write(project, "dict(config='~/teacher.py')")).model.teacher
    assert teacher.config == str(project / 'teacher.py')


@pytest.mark.parametrize('key, path, near', [
    ('config', 'techer.py', ['teacher.py', 'teacher2.py']),
    ('checkpoint', 'techer.pth', ['teacher.pth', 'teacher2.pth']),
])
def test_a_path_that_leads_nowhere(project, tmp_path, key, path, near):
    (tmp_path / 'current' / near[1]).write_text('')
    given = dict(config=str(project / 'teacher.py'), checkpoint=str(project / 'teacher.pth'))
    cfg = read_config(write(project, {**given, key: path}))
    assert cfg.model.teacher[key] == path
    message = message_of(build_teacher, 'teacher', cfg.model.teacher.to_dict())
    for part in ('teacher: ', f"{path!r} does not exist; did you mean", str(project),
                 str(tmp_path / 'current'), "'{{ fileDirname }}/'", *map(repr, near)):
        assert part in message


def test_a_relative_path_outside_a_config(project, tmp_path):
    (tmp_path / 'current' / 'a.pth').write_text('')
    message = message_of(safe_load, 'b.pth')
    assert f"(looked in {tmp_path / 'current'}" in message
    assert "nor does the folder 'none'" in message_of(safe_load, 'none/b.pth')
    absolute = message_of(safe_load, str(project / 'techer.pth'))
    assert "did you mean 'teacher.pth'" in absolute and 'looked in' not in absolute


def test_a_folder_is_called_a_folder(project):
    for call in (safe_load, read_config):
        message = message_of(call, str(project))
        assert 'is a folder; give a file' in message and 'teacher.p' in message
        assert 'does not exist' not in message and 'did you mean' not in message
    assert '(in it: none)' in does_not_exist(os.getcwd())
