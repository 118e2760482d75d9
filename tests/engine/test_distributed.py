"""Two CPU processes on gloo against one process with the joint batch."""
import os
import sys
import traceback

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from torch import distributed, multiprocessing

from tests.cli import free_port
from tests.helpers import build, make_batch, terms_of, tiny_distiller, tiny_segmentor

WORLD = 2
# What a step on the joint batch and on two halves of it agree on. The others do not:
# AttnFD divides by a norm over its rank's batch and by its rank's images; CIRKD's
# mini-batch part compares the images of a rank; the bank's are drawn per step.
ADDITIVE = ['kd', 'cwd', 'mgd', 'fitnet', 'at']
PER_RANK = ['attnfd', 'cirkd']


def distiller(recipe):
    """A distiller without dropout and batch statistics, so that images do not interact."""
    terms = terms_of(recipe)
    if recipe == 'cirkd':
        terms['memory']['loss'].update(pixel_memory_size=40, region_memory_size=20,
                                       pixel_contrast_size=32, region_contrast_size=16)
    if recipe == 'mgd':
        terms['feature']['student_connector']['lambda_mgd'] = 0.  # every mask is the same
    student = tiny_segmentor('PSPHead', norm='GN', dropout=0.)
    model = build(tiny_distiller(terms, student))
    # Logits of trained size; what is compared would drown in rounding otherwise.
    model.teachers['teacher'].model.decode_head.conv_seg.weight.data.mul_(100)
    return model


def wrapper_of(model):
    return build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9)))


def halves(step, ignored=False):
    """Two images; the second one without a valid pixel if ``ignored``."""
    data = make_batch(WORLD, 32, seed=step)
    if ignored:
        data['data_samples'][1].gt_sem_seg.data.fill_(255)
    return data


def worker(rank, task, port, results):
    """One process: run ``task`` and leave its result (or its traceback)."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=str(rank),
                      WORLD_SIZE=str(WORLD), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', rank=rank, world_size=WORLD)
    try:
        torch.save(task(rank), f'{results}/{rank}.pt')
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    finally:
        distributed.destroy_process_group()


def on_two_processes(task, folder):
    """The results of ``task(rank)`` on each of two processes; a hang is an error."""
    context = multiprocessing.start_processes(
        worker, (task, free_port(), str(folder)), WORLD, join=False, start_method='spawn')
    for _ in range(300):
        if context.join(timeout=1):
            return [torch.load(folder / f'{rank}.pt', weights_only=True)
                    for rank in range(WORLD)]
    for process in context.processes:
        process.kill()
    raise AssertionError('the processes hang')


def train_half(recipe, rank, steps=2, ignored=False):
    """Train on one image of each batch; the losses, and the state in the end."""
    torch.manual_seed(rank)  # the ranks' own streams differ
    model = distiller(recipe)
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=False)
    assert not any('teachers' in name for name, _ in ddp.named_parameters())
    optimizer, logs = wrapper_of(ddp), []
    ddp.train()
    for step in range(steps):
        data = {key: value[rank:rank + 1] for key, value in halves(step, ignored).items()}
        log = ddp.train_step(data, optimizer)
        logs.append({key: float(value) for key, value in log.items()})
    return dict(logs=logs, state=model.state_dict())


def train_all(rank):
    return {recipe: train_half(recipe, rank) for recipe in ADDITIVE + PER_RANK}


def train_ignored(rank):
    return {recipe: train_half(recipe, rank, ignored=True) for recipe in ('cwd', 'cirkd')}


@pytest.fixture(scope='module')
def halved(tmp_path_factory):
    return on_two_processes(train_all, tmp_path_factory.mktemp('halved'))


def out_of_step(first, second):
    """Keys that differ, but for BN statistics: those are a rank's own, as the student's are
    without SyncBN."""
    assert first.keys() == second.keys()
    return [key for key in first if not key.endswith(('running_mean', 'running_var'))
            and not torch.equal(first[key], second[key])]


def train_jointly(recipe, steps=2):
    model = distiller(recipe)
    optimizer, logs = wrapper_of(model), []
    model.train()
    for step in range(steps):
        logs.append({k: float(v) for k, v in model.train_step(halves(step), optimizer).items()})
    return logs, model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize('recipe', ADDITIVE)
def test_two_processes_equal_the_joint_batch(halved, recipe):
    joint, state = train_jointly(recipe)
    for step, log in enumerate(joint):
        for key in (k for k in log if k.startswith('loss')):
            mean = sum(rank[recipe]['logs'][step][key] for rank in halved) / WORLD
            assert mean == pytest.approx(log[key], rel=1e-4), (step, key)
    for key, value in state.items():
        torch.testing.assert_close(halved[0][recipe]['state'][key], value, rtol=1e-3, atol=1e-6,
                                   msg=key)


@pytest.mark.slow
@pytest.mark.parametrize('recipe', ADDITIVE + PER_RANK)
def test_ranks_stay_in_step(halved, recipe):
    first, second = (rank[recipe]['state'] for rank in halved)
    assert out_of_step(first, second) == []
    if recipe == 'cirkd':
        pointer = first['distiller.memory.loss.region_queue_ptr']
        assert pointer.sum() > 0  # the banks were filled


@pytest.mark.slow
def test_attnfd_norm_is_its_ranks_own(halved):
    """Each rank's loss is that of a process which has its image alone."""
    model = distiller('attnfd')
    for rank in range(WORLD):
        data = {key: value[rank:rank + 1] for key, value in halves(0).items()}
        data = model.train().data_preprocessor(data, True)
        losses = model(**data, mode='loss')
        for name in ('stage4', 'context', 'decoder'):
            assert halved[rank]['attnfd']['logs'][0][f'loss_{name}'] == pytest.approx(
                float(losses[f'loss_{name}']), rel=1e-4)


@pytest.mark.slow
def test_cirkd_minibatch_is_its_ranks_own(halved):
    """Pairs of images are formed inside a rank."""
    model = distiller('cirkd')
    for rank in range(WORLD):
        data = {key: value[rank:rank + 1] for key, value in halves(0).items()}
        data = model.train().data_preprocessor(data, True)
        own = float(model(**data, mode='loss')['loss_minibatch'])
        assert halved[rank]['cirkd']['logs'][0]['loss_minibatch'] == pytest.approx(own, rel=1e-4)


@pytest.mark.slow
def test_no_hang_without_valid_pixels_on_one_rank(tmp_path):
    first, second = on_two_processes(train_ignored, tmp_path)
    for recipe in ('cwd', 'cirkd'):
        for rank in (first, second):
            values = [v for log in rank[recipe]['logs'] for v in log.values()]
            assert torch.tensor(values).isfinite().all()
        assert out_of_step(first[recipe]['state'], second[recipe]['state']) == []
    log = second['cirkd']['logs'][0]
    assert log['loss_memory_pixel'] == log['loss_memory_region'] == 0
    assert first['cirkd']['logs'][0]['loss_memory_pixel'] > 0
