"""The CIRKD memory bank on two ranks (gloo): queues in step, losses of the joint batch."""
import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from .test_cirkd import assert_state, bank, batch

SIZES = {'equal': ((4, 6), (4, 6)), 'unequal': ((4, 6), (3, 5))}
STEPS = 3


def rank_batch(rank, step, size):
    """Step 1: rank 1 has nothing to offer. Step 2: one class on rank 0, nothing on rank 1."""
    student, teacher, labels = batch(1, *size, seed=10 * step + rank)
    if step and rank == 1:
        labels[:] = 255
    elif step == 2:
        labels[:] = 0
    return student, teacher, labels


def run_rank(rank, folder):
    """Save losses, gradients and queues of a few steps."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank,
                            world_size=2)
    for name, sizes in SIZES.items():
        module = bank()
        torch.manual_seed(100 + 50 * rank)  # the generators of the ranks differ
        result = []
        for step in range(STEPS):
            student, teacher, labels = rank_batch(rank, step, sizes[rank])
            losses = module(student, teacher, labels)
            sum(losses.values()).backward()
            result.append(dict(losses={k: v.item() for k, v in losses.items()},
                               grad=student.grad, state=copy.deepcopy(module.state_dict())))
        torch.save(result, f'{folder}/{name}{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    mp.spawn(run_rank, (str(folder),), nprocs=2)
    return {name: [torch.load(folder / f'{name}{rank}.pt') for rank in range(2)]
            for name in SIZES}


@pytest.mark.parametrize('name', SIZES)
def test_queues_are_bitwise_equal(results, name):
    start = bank().state_dict()
    for step, (first, second) in enumerate(zip(*results[name], strict=True)):
        for key, value in first['state'].items():
            assert torch.equal(value, second['state'][key]), (step, key)
    assert not torch.equal(first['state']['pixel_queue'], start['pixel_queue'])


def test_equals_one_process_with_the_joint_batch(results):
    module = bank()
    torch.manual_seed(100)  # rank 0's generator
    for step, ranks in enumerate(zip(*results['equal'], strict=True)):
        parts = [rank_batch(rank, step, SIZES['equal'][rank]) for rank in range(2)]
        student, teacher, labels = (torch.cat(x) for x in zip(*parts, strict=True))
        losses = module(student, teacher, labels)
        assert_state(module, ranks[0]['state'])
        # Each rank divides by its own valid pixels: all of its map, or none.
        shares = [0.5, 0.5] if step == 0 else [1., 0.]
        for key in ('pixel', 'region'):
            joint = sum(s * r['losses'][key] for s, r in zip(shares, ranks, strict=True))
            assert joint == pytest.approx(losses[key].item(), rel=1e-10)
        grad, = torch.autograd.grad(sum(losses.values()), student)
        for rank in range(2):
            torch.testing.assert_close(grad[rank], ranks[rank]['grad'][0] * shares[rank])


def test_a_rank_without_pixels_has_a_zero_loss_and_gradient(results):
    idle = results['equal'][1][1]
    assert idle['losses'] == dict(pixel=0., region=0.)
    assert idle['grad'].abs().max() == 0
