"""The tools on samples without a box, where LiDAR teaches cameras: every recipe trains on them."""
import pytest
import torch

from tests.bev_project import student_config, without_boxes, write_teacher
from tests.cli import weights_of
from tests.configs.test_bevdet_configs import innermost

pytestmark = pytest.mark.slow
RECIPES = ('distillbev', 'distillbev_fp', 'unidistill', 'bevdistill', 'cmkd', 'tig_bev', 'fsd_bev')


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A student that also learns on samples without a box, of which the first is one."""
    folder = tmp_path_factory.mktemp('bev')
    cfg = student_config(folder)
    dataset = innermost(cfg.train_dataloader.dataset)
    dataset.filter_empty_gt = False
    cfg.train_dataloader.dataset = dataset
    cfg.train_dataloader.update(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False))
    (folder / 'student.py').write_text(cfg.pretty_text)
    write_teacher(folder)
    without_boxes(folder, [0])
    return folder


@pytest.mark.parametrize('recipe', RECIPES)
def test_it_trains(project, here, recipe):
    here.run('train.py', '--student', 'student.py', '--teacher', 'teacher.py',
             '--teacher-checkpoint', 'teacher.pth', '--recipe', recipe, '--work-dir', recipe,
             *(['--amp'] if recipe == 'unidistill' else []), cwd=project)
    saved = weights_of(project / recipe / 'epoch_1.pth')
    assert saved['meta']['iter'] == 2
    assert all(torch.isfinite(value).all() for value in saved['state_dict'].values()
               if value.is_floating_point())


def test_no_sample_has_a_box(project, here):
    without_boxes(project, [0, 1])
    here.run('train.py', '--student', 'student.py', '--teacher', 'teacher.py',
             '--teacher-checkpoint', 'teacher.pth', '--recipe', 'distillbev', '--work-dir', 'none',
             cwd=project)
    told = here.fails('train.py', '--student', 'student.py', '--teacher', 'teacher.py',
                      '--teacher-checkpoint', 'teacher.pth', '--recipe', 'distillbev', '--check',
                      '--cfg-options', 'train_dataloader.dataset.filter_empty_gt=True',
                      cwd=project)
    assert 'filter_empty_gt=False' in told
