"""The configs that mmkd ships, by what they are for, and what their tests share."""
import copy
import functools
import glob
import os

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIGS = os.path.join(ROOT, 'configs')
#: folders of fragments, which hold no model or no data
PARTS = ('recipes', 'models', 'datasets', 'schedules', 'runtime')


def found(*patterns):
    return sorted(os.path.relpath(path, CONFIGS) for pattern in patterns
                  for path in glob.glob(os.path.join(CONFIGS, pattern), recursive=True))


ALL = found('**/*.py')
FRAGMENTS = [path for path in ALL if path.startswith(tuple(
    os.path.join('_base_', part) + os.sep for part in PARTS))]
STUDENTS = found('_base_/students/*.py')
DET3D_STUDENTS = [path for path in STUDENTS if '_nus-' in path or '_kitti-' in path]
DET_STUDENTS = [path for path in STUDENTS if '_coco' in path or '_voc0712' in path]
TEACHERS = found('_base_/teachers/*.py')
DEPLOY = found('deploy/**/*.py')  # mmdeploy's; tests/deploy tries them
DETECTORS = found('detectors/*/*.py')  # of mmkd's own; they distil nothing
LEAVES = found('seg/*/*.py', 'det/*/*.py', 'det3d/*/*.py')
DEMO = found('demo/**/*.py')  # run as a whole by `make demo` and its test
COMPARISONS = found('comparisons/**/*.py')  # a teacher there may need a package of its own


@functools.cache
def parsed(path):
    return Config.fromfile(os.path.join(CONFIGS, path))


def read(path):
    return copy.deepcopy(parsed(path))


def train_one_step(cfg, model_cfg, batch):
    """The model after one step on a batch, and what it logged."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT_MODELS.build(model_cfg)
        model.init_weights()
        model.train()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = [p.detach().clone() for p in model.parameters()]
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    total, logged = model.parse_losses(losses)
    wrapper.backward(total)
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] \
        == []
    wrapper.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in logged.values()), logged
    return model, logged


def check_terms(cfg, model, logged, every_part=True):
    """Every term (or every part of it) has a loss, and the teacher is in no checkpoint."""
    for name in cfg.model.distillations:
        mine = [value for key, value in logged.items()
                if key == f'loss_{name}' or key.startswith(f'loss_{name}_')]
        positive = [value > 0 for value in mine]
        assert mine and (all if every_part else any)(positive), (name, logged)
    assert not [key for key in model.state_dict() if 'teacher' in key.partition('.')[0]]
