"""test.py leaves the records of trainings alone, wants the right checkpoint, and paints; what a
config and a Runner of the user's own mean in both tools."""
import os
import shutil

import pytest
import torch

from tests.cli import Here, weights_of, write_project
from tests.helpers import build, random_bn, tiny_segmentor

RUNNER = """
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

@RUNNERS.register_module()
class LoudRunner(Runner):
    def train(self):
        print('LOUD train')
        return super().train()

    def test(self):
        print('LOUD test')
        return super().test()
"""


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A project, and one short distillation in ``trained/``."""
    folder = write_project(tmp_path_factory.mktemp('records'))
    (folder / 'loud_runner.py').write_text(RUNNER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Here(patch, Silent()).run(
            'train.py', '--student', 'student.py', '--teacher', 'teacher.py',
            '--teacher-checkpoint', 'teacher.pth', '--recipe', 'kd', '--work-dir', 'trained',
            '--cfg-options', 'train_cfg.max_iters=2', cwd=folder)
    return folder


class Silent:
    """Where no output is captured."""
    def readouterr(self):
        return '', ''


def texts(folder):
    return {path: path.read_text() for path in folder.glob('*.py')}


# ---- records ----------------------------------------------------------------------------
def test_the_record_of_a_training_outlives_its_tests(project, here):
    trained = project / 'trained'
    before = texts(trained)
    (record,) = before
    assert 'OfflineDistiller' in before[record]
    here.run('test.py', record, trained / 'iter_2.pth', cwd=project)
    here.run('test.py', record, trained / 'iter_2.pth', '--work-dir', trained, cwd=project)
    assert texts(trained) == before
    tests = [path for path in trained.glob('*/kd_student.py')
             if 'OfflineDistiller' not in path.read_text()]
    assert tests  # what was tested is recorded in the dated folder
    here.run('train.py', record, '--resume', '--cfg-options', 'train_cfg.max_iters=3',
             cwd=project)
    assert weights_of(trained / 'iter_3.pth')['distillation'] == {'logits': 'KDLoss'}
    assert 'max_iters=3' in record.read_text()  # of training, it is the newest record


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_a_config_of_the_users_own_in_the_work_dir_stays(project, here, tmp_path, tool):
    work, text = tmp_path / 'work', f"_base_ = {str(project / 'student.py')!r}  # mine\n"
    work.mkdir()
    (work / 'student.py').write_text(text)
    weights = project / 'student.pth'
    torch.save(build(tiny_segmentor(num_classes=19)).state_dict(), weights)
    more = [weights] if tool == 'test.py' else []
    here.run(tool, work / 'student.py', *more, '--work-dir', work, '--cfg-options',
             'train_cfg.max_iters=1', 'val_dataloader.dataset.indices=1', cwd=project)
    here.run(tool, project / 'student.py', *more, '--work-dir', work, '--cfg-options',
             'train_cfg.max_iters=1', cwd=project)
    assert texts(work) == {work / 'student.py': text}
    assert list(work.glob('*/student.py'))


def test_a_record_is_written_anew_by_the_next_training(project, here, tmp_path):
    for iters in (1, 2):
        here.run('train.py', 'student.py', '--work-dir', tmp_path, '--cfg-options',
                 f'train_cfg.max_iters={iters}', cwd=project)
        assert f'max_iters={iters}' in (tmp_path / 'student.py').read_text()


# ---- the right checkpoint ---------------------------------------------------------------
def test_a_checkpoint_that_is_not_the_students(project, here, tmp_path):
    def refused(state, *args):
        torch.save(state, tmp_path / 'x.pth')
        text = here.fails('test.py', 'distill.py', tmp_path / 'x.pth', '--work-dir',
                          tmp_path / 'work', *args, cwd=project)
        assert 'does not hold exactly the student of this config' in text
        assert not (tmp_path / 'work').exists()
        return text

    student = build(tiny_segmentor(num_classes=19)).state_dict()
    text = refused({f'net.{key}': value for key, value in student.items()})
    assert 'none of the' in text and "'net.' in front" in text
    text = refused(dict(state_dict={**student, 'backbone.extra': torch.zeros(1)}))
    assert '1 are in the file only (backbone.extra)' in text
    part = {key.replace('conv_seg', 'conv_sge'): value for key, value in student.items()}
    text = refused(part)
    assert f'{len(student) - 2} of the {len(student)} keys fit' in text
    assert "did you mean 'decode_head.conv_sge.weight'" in text
    text = refused({**student, 'decode_head.conv_seg.bias': torch.zeros(7)})
    assert 'decode_head.conv_seg.bias: (7,) in the file, (19,) in the model' in text
    teacher = torch.load(project / 'teacher.pth')
    assert 'It holds the teacher: give its config instead' in refused(teacher)
    torch.save([1, 2], tmp_path / 'list.pth')
    assert 'holds no weights' in here.fails('test.py', 'distill.py', tmp_path / 'list.pth',
                                            cwd=project)
    torch.save({**student, 'decode_head.conv_seg.bias': torch.full((19,), torch.nan)},
               tmp_path / 'nan.pth')
    for tool, option in (('test.py', '--work-dir'), ('export_student.py', '--out')):
        text = here.fails(tool, 'distill.py', tmp_path / 'nan.pth', option, tmp_path / 'new',
                          cwd=project)
        assert 'holds NaN or infinite values: decode_head.conv_seg.bias (19 of 19' in text
        assert not (tmp_path / 'new').exists()
    text = here.fails('test.py', 'student.py', 'teacher.pth', cwd=project)
    assert 'does not hold exactly the model of this config' in text


def test_checkpoints_that_are_the_students(project, here, tmp_path):
    """DataParallel's prefix, no bookkeeping of BN, EMA's second copy, test-time augmentation."""
    state = random_bn(build(tiny_segmentor(num_classes=19))).state_dict()
    lean = {k: v for k, v in state.items() if not k.endswith('num_batches_tracked')}
    prefixed = {f'module.{key}': value for key, value in state.items()}
    tta = tmp_path / 'tta.py'
    tta.write_text(
        f"_base_ = {str(project / 'distill.py')!r}\n"
        "tta_model = dict(type='SegTTAModel')\n"
        "tta_pipeline = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[\n"
        "    [dict(type='RandomFlip', prob=p) for p in (0., 1.)], [dict(type='LoadAnnotations')],\n"
        "    [dict(type='PackSegInputs')]])]\n")
    for name, loaded, args in (
            ('lean', lean, ['distill.py']), ('prefixed', dict(state_dict=prefixed), ['distill.py']),
            ('ema', dict(state_dict=state, ema_state_dict=prefixed, meta={}), ['student.py']),
            ('tta', dict(state_dict=state), [tta, '--tta'])):
        torch.save(loaded, tmp_path / f'{name}.pth')
        out = here.run('test.py', args[0], tmp_path / f'{name}.pth', '--work-dir',
                       tmp_path / name, *args[1:], cwd=project)[0]
        assert 'mIoU' in out and 'missing keys' not in out
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'iter_7.pth').write_text('')
    assert 'is a folder; give a file (in it: iter_7.pth)' in here.fails(
        'test.py', 'distill.py', tmp_path / 'folder', cwd=project)


# ---- pictures ---------------------------------------------------------------------------
@pytest.mark.parametrize('without', [[], ['default_hooks', 'visualizer', 'vis_backends']])
def test_show_dir_and_out(project, here, tmp_path, without):
    text = "_base_ = [{!r}]\n".format(str(project / 'distill.py'))
    if without:
        text = (project / 'student.py').read_text()
        for key in without:
            text += f'del {key}\n'
    (tmp_path / 'shown.py').write_text(text)
    torch.save(build(tiny_segmentor(num_classes=19)).state_dict(), tmp_path / 'x.pth')
    here.run('test.py', tmp_path / 'shown.py', tmp_path / 'x.pth', '--show-dir',
             tmp_path / 'painted', '--out', tmp_path / 'out', cwd=tmp_path)
    assert len(list((tmp_path / 'painted').rglob('*.png'))) == 2
    assert len(os.listdir(tmp_path / 'out')) == 2


def test_pictures_that_would_be_written_over_each_other_are_told(project, here, tmp_path):
    val = project / 'data' / 'leftImg8bit' / 'val'
    first = sorted(val.rglob('*.png'))[0]
    shutil.copytree(project / 'data', tmp_path, dirs_exist_ok=True)
    for kind, suffix in (('leftImg8bit', '_leftImg8bit'), ('gtFine', '_gtFine_labelTrainIds')):
        (tmp_path / kind / 'val' / 'other').mkdir()
        name = first.name.replace('_leftImg8bit', suffix)
        city = first.parent.name
        shutil.copy(tmp_path / kind / 'val' / city / name, tmp_path / kind / 'val' / 'other')
    torch.save(build(tiny_segmentor(num_classes=19)).state_dict(), tmp_path / 'x.pth')
    for option in ('--show-dir', '--out'):
        text = here.fails('test.py', 'student.py', tmp_path / 'x.pth', option, tmp_path / 'new',
                          '--cfg-options', f'test_dataloader.dataset.data_root={tmp_path}',
                          cwd=project)
        assert text.startswith(f'{option}: ') and 'would be written to one file' in text
        assert text.count(first.name) == 2 and not (tmp_path / 'new').exists()


# ---- runner_type ------------------------------------------------------------------------
def test_a_runner_of_the_users_own(project, here, tmp_path):
    """Also found beside the config, from another folder."""
    config = project / 'loud.py'
    config.write_text("_base_ = 'distill.py'\nrunner_type = 'LoudRunner'\n"
                      "custom_imports = dict(imports=['loud_runner'])\n")
    args = ['--work-dir', tmp_path / 'work', '--cfg-options', 'train_cfg.max_iters=1']
    assert 'LOUD train' in here.run('train.py', config, *args, cwd=tmp_path)[0]
    file = tmp_path / 'work' / 'iter_1.pth'
    for read in (config, tmp_path / 'work' / 'loud.py'):  # the copy finds the module, too
        assert 'LOUD test' in here.run('test.py', read, file, *args, cwd=tmp_path)[0]
    assert "runner_type 'LoudRuner' is not registered; did you mean 'LoudRunner'" in here.fails(
        'train.py', config, *args, 'runner_type=LoudRuner', cwd=tmp_path)


def test_the_flexible_runner(project, here, tmp_path):
    args = ['--cfg-options', 'runner_type=FlexibleRunner', 'strategy.type=SingleDeviceStrategy',
            'env_cfg.cudnn_benchmark=False']
    here.run('train.py', 'distill.py', '--work-dir', tmp_path / 'a', *args, cwd=project)
    here.run('train.py', 'distill.py', '--work-dir', tmp_path / 'b', '--resume',
             tmp_path / 'a' / 'iter_2.pth', *args, cwd=project)
    a, b = (weights_of(tmp_path / name / 'iter_4.pth')['state_dict'] for name in 'ab')
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    out = here.run('test.py', 'distill.py', tmp_path / 'a' / 'iter_4.pth', *args, cwd=project)[0]
    assert 'mIoU' in out
