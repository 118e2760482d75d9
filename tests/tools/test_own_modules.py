"""A loss of the user's own, in a file beside the config that names it: all tools, any folder."""
import glob
import os

import pytest
import torch

from tests.cli import ROOT, weights_of, write_project
from tests.helpers import build, tiny_segmentor

LOSS = """
import torch
from mmkd.registry import MODELS

@MODELS.register_module()
class {name}(torch.nn.Module):
    def forward(self, student, teacher):
        return (student - teacher).abs().mean()
"""
BACKBONE = """
{first}
from mmengine.registry import MODELS
from mmseg.models.backbones import ResNet

@MODELS.register_module()
class {name}(ResNet):
    pass
"""


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp('own'))
    (folder / 'own_loss.py').write_text(LOSS.format(name='OwnLoss'))
    (folder / 'own.py').write_text(
        "_base_ = 'distill.py'\ncustom_imports = dict(imports=['own_loss'])\n"
        "model = dict(distillations=dict(\n"
        "    feature=None, logits=dict(loss=dict(_delete_=True, type='mmkd.OwnLoss'))))\n"
        "train_cfg = dict(max_iters=1)\ntrain_dataloader = dict(num_workers=1)\n")
    return folder


def test_beside_the_config(project, here, tmp_path):
    work = tmp_path / 'work'
    (tmp_path / 'leaf.py').write_text(f"_base_ = {str(project / 'own.py')!r}\n")
    here.run('train.py', tmp_path / 'leaf.py', '--work-dir', work, cwd=tmp_path)  # beside its base
    assert weights_of(work / 'iter_1.pth')['distillation'] == {'logits': 'OwnLoss'}
    for config in (project / 'own.py', work / 'leaf.py'):  # the copy elsewhere, too
        here.run('test.py', config, work / 'iter_1.pth', '--work-dir', work, cwd=tmp_path)
    out = here.run('export_student.py', work / 'leaf.py', work / 'iter_1.pth', cwd=tmp_path)[0]
    assert 'left out:  own_loss' in out and 'not free' not in out
    (config,) = glob.glob(f'{work}/student_*.py')
    assert 'custom_import' not in open(config).read() and 'mmkd' not in open(
        config).read().replace(str(project), '').replace(ROOT, '')


def test_the_copy_works_in_a_new_process(project, tmp_path):
    from tests.cli import run
    run('train.py', project / 'own.py', '--work-dir', tmp_path, cwd=tmp_path)
    run('train.py', tmp_path / 'own.py', '--resume', '--cfg-options', 'train_cfg.max_iters=2',
        cwd=os.path.dirname(tmp_path))


def test_beside_a_recipe(project, here, tmp_path):
    (tmp_path / 'recipe_loss.py').write_text(LOSS.format(name='RecipeLoss'))
    (tmp_path / 'mine.py').write_text(
        "custom_imports = dict(imports=['recipe_loss'])\ndistillations = dict(\n"
        "    logits=dict(tap='logits', loss=dict(type='mmkd.RecipeLoss')))\n")
    here.run('train.py', '--student', 'student.py', '--teacher', 'teacher.py',
             '--teacher-checkpoint', 'teacher.pth', '--recipe', tmp_path / 'mine.py', '--work-dir',
             tmp_path / 'work', '--cfg-options', 'train_cfg.max_iters=1', cwd=project)
    written = (tmp_path / 'work' / 'mine_student.py').read_text()
    assert 'recipe_loss' in written
    assert f"custom_import_folders = [\n    '{tmp_path}',\n]" in written


def test_a_module_that_is_not_there(project, here, tmp_path):
    (tmp_path / 'my_losses.py').write_text('')
    (tmp_path / 'own.py').write_text(f"_base_ = {str(project / 'distill.py')!r}\n"
                                     "custom_imports = dict(imports=['my_lossse'])\n")
    text = here.fails('train.py', tmp_path / 'own.py', cwd=project)
    assert "there is no module 'my_lossse', which custom_imports names" in text
    assert "did you mean 'my_losses'" in text and str(tmp_path) in text and 'PYTHONPATH' in text
    (tmp_path / 'my_lossse.py').write_text('import no_such_package\n')
    assert "'my_lossse' of custom_imports cannot be imported: ModuleNotFoundError: No module " \
           "named 'no_such_package'" in here.fails('train.py', tmp_path / 'own.py', cwd=project)
    (tmp_path / 'json.py').write_text('')
    (tmp_path / 'own.py').write_text("custom_imports = dict(imports='json')\n")
    assert 'rename your file' in here.fails('train.py', tmp_path / 'own.py', cwd=project)


# ---- export -----------------------------------------------------------------------------
@pytest.mark.parametrize('first', ['', 'import mmkd.models'])
def test_export_names_what_the_student_needs(project, here, tmp_path, first):
    """A backbone of one's own stays in the config; if its file imports mmkd, that is told."""
    name = 'OwnNet' if not first else 'TiedNet'
    module = name.lower()
    (tmp_path / f'{module}.py').write_text(BACKBONE.format(name=name, first=first))
    (tmp_path / 'net.py').write_text(
        f"_base_ = {str(project / 'student.py')!r}\ncustom_imports = dict(imports=['{module}'])\n"
        f"model = dict(backbone=dict(type='{name}'))\n"
        "optim_wrapper = dict(type='mmkd.Bfloat16OptimWrapper')\n")
    model = tiny_segmentor(num_classes=19)
    model['backbone']['deep_stem'], model['backbone']['type'] = False, 'ResNet'
    torch.save(build(model).state_dict(), tmp_path / 'x.pth')
    out = here.run('export_student.py', tmp_path / 'net.py', tmp_path / 'x.pth', '--name', 'plain',
                   cwd=tmp_path)[0]
    assert f'it needs:  {module} of custom_imports ({name})' in out
    assert ('not free of mmkd' in out) == bool(first)
    assert f"'{module}'" in (tmp_path / 'plain.py').read_text()
    assert "type='AmpOptimWrapper'" in (tmp_path / 'plain.py').read_text()
    assert 'choose another --name' in here.fails(
        'export_student.py', tmp_path / 'net.py', tmp_path / 'x.pth', '--name', 'net', cwd=tmp_path)


def test_names_of_exported_files(project, here, tmp_path):
    torch.save(build(tiny_segmentor(num_classes=19)).state_dict(), tmp_path / 'x.pth')
    for config, name in (('student.py', 'student_x'), ('distill.py', 'student_distill_x')):
        here.run('export_student.py', config, tmp_path / 'x.pth', '--out', tmp_path, cwd=project)
        assert (tmp_path / f'{name}.py').is_file()
