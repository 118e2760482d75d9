"""Each recipe by which LiDAR teaches cameras: in bfloat16, and on two processes."""
import copy

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from tests.detectors3d import bev_batch, bev_distiller, centerpoint
from tests.engine.test_distributed import WORLD, on_two_processes, out_of_step
from tests.helpers import build, terms_of
from tests.models.bev.rigs import CLASSES, RANGE, SIZE, tiny_model

RECIPES = ('distillbev', 'distillbev_bevformer', 'distillbev_fp', 'unidistill', 'bevdistill',
           'cmkd', 'tig_bev', 'fsd_bev')
DISTRIBUTED = ('distillbev_fp', 'unidistill', 'bevdistill', 'cmkd', 'tig_bev', 'fsd_bev')
#: the mean over samples of what each has by itself, so that halves of a batch make up the whole
ADDITIVE = ('fsd_bev', 'unidistill')


def distiller(recipe):
    terms = terms_of(recipe)
    if recipe == 'tig_bev':
        terms['inner_depth']['loss']['depth_bins'] = (1., 41., 2.)
    student = tiny_model()
    teacher = centerpoint(16 if recipe == 'unidistill' else 8, area=RANGE,
                          tasks=(CLASSES[:4], CLASSES[4:]))
    return build(bev_distiller(terms, student, teacher))


def sample(step=0):
    """A sample with a box for each of the two tasks."""
    data = bev_batch(1, area=RANGE, images=(6, *SIZE), seed=step)
    data['data_samples'][0].gt_instances_3d.labels_3d = torch.tensor([0, 5])
    return data


def joined(first, second):
    return dict(inputs={key: value + second['inputs'][key]
                        for key, value in first['inputs'].items()},
                data_samples=first['data_samples'] + second['data_samples'])


@pytest.fixture(autouse=True)
def _scope():
    """On one thread, as each of two processes: sums over more differ in the last bit."""
    DefaultScope.get_instance('bev_recipes', scope_name='mmdet3d')
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize('recipe', RECIPES)
def test_half_precision(recipe):
    model = distiller(recipe)
    wrapper = build_optim_wrapper(model, dict(type='mmkd.Bfloat16OptimWrapper',
                                              optimizer=dict(type='SGD', lr=0.01)))
    model.train()
    with wrapper.optim_context(model):
        losses = model(**model.data_preprocessor(joined(sample(0), sample(1)), True), mode='loss')
    total, log = model.parse_losses(losses)
    assert all(any(key.startswith(f'loss_{name}') for key in log) for name in model.distiller)
    assert all(torch.isfinite(value).all() for value in log.values()), log
    total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, grad in gradients.items()
                if grad is None or not torch.isfinite(grad).all()]
    assert any(grad.any() for name, grad in gradients.items() if name.startswith('img_backbone'))


# ---- two processes -------------------------------------------------------------------------------
def still(model):
    """Training, but for the statistics of its norms: samples do not interact."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def optimizer_of(model):
    return build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))


def step_on_one(rank):
    """What each recipe's weights are after a step on an own sample."""
    DefaultScope.get_instance('bev_recipes', scope_name='mmdet3d')
    found = {}
    for recipe in DISTRIBUTED:
        model = distiller(recipe)
        ddp = MMDistributedDataParallel(model, broadcast_buffers=False,
                                        find_unused_parameters=False)
        still(ddp)
        torch.manual_seed(rank)
        log = ddp.train_step(sample(rank), optimizer_of(ddp))
        found[recipe] = dict(state=model.state_dict(),
                             log={key: float(value) for key, value in log.items()})
    return found


@pytest.fixture(scope='module')
def halved(tmp_path_factory):
    return on_two_processes(step_on_one, tmp_path_factory.mktemp('halved'))


def assert_close(state, expected):
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=1e-3, atol=1e-6, msg=lambda text, k=key:
                                   f'{k}: {text}')


@pytest.mark.slow
@pytest.mark.parametrize('recipe', DISTRIBUTED)
def test_a_step_on_two_processes_is_the_mean_of_both_gradients(halved, recipe):
    assert out_of_step(*(rank[recipe]['state'] for rank in halved)) == []
    model = distiller(recipe)
    before, optimizer = copy.deepcopy(model.state_dict()), optimizer_of(model)
    for rank in range(WORLD):
        torch.manual_seed(rank)
        data = still(model).data_preprocessor(sample(rank), True)
        total, log = model.parse_losses(model(**data, mode='loss'))
        (total / WORLD).backward()
        for key, value in log.items():
            assert halved[rank][recipe]['log'][key] == pytest.approx(float(value), rel=1e-4), key
    optimizer.step()
    assert_close(halved[0][recipe]['state'], model.state_dict())
    assert [key for key in before if not torch.equal(before[key], model.state_dict()[key])]


@pytest.mark.slow
@pytest.mark.parametrize('recipe', ADDITIVE)
def test_a_step_on_two_processes_is_one_on_both_samples(halved, recipe):
    """Where losses are means over samples, as with as many boxes in each."""
    model = distiller(recipe)
    log = still(model).train_step(joined(sample(0), sample(1)), optimizer_of(model))
    for key, value in log.items():
        mean = sum(rank[recipe]['log'][key] for rank in halved) / WORLD
        assert mean == pytest.approx(float(value), rel=1e-4), key
    assert_close(halved[0][recipe]['state'], model.state_dict())
