"""The CIRKD memory bank: loss, queue rules and labels."""
import copy

import pytest
import torch
import torch.nn.functional as F

from mmkd.models.losses import CIRKDMemoryLoss

K, C = 4, 5


def bank(**overrides):
    torch.manual_seed(7)
    settings = dict(num_classes=K, teacher_channels=C, pixel_memory_size=40, region_memory_size=6,
                    pixel_contrast_size=16, region_contrast_size=8, ignore_index=255)
    return CIRKDMemoryLoss(**{**settings, **overrides}).double()


def batch(n=2, h=4, w=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(n, C, h, w, generator=generator, dtype=torch.float64).to(dtype)
                        for _ in range(2))
    labels = torch.randint(0, K, (n, 2 * h, 2 * w), generator=generator)
    return student.requires_grad_(), teacher, labels


def reference_update(state, teacher, labels, rule, update=16, ignored=(255, -1)):
    """The queue rule, one image and class after the other; draws from torch's generator."""
    teacher = F.normalize(teacher, dim=1)
    labels = F.interpolate(labels[:, None].float(), size=teacher.shape[2:])[:, 0].long()
    for features, label in zip(teacher.flatten(2), labels.flatten(1), strict=True):
        for c in sorted(set(label.tolist()) - set(ignored)):
            members = [p for p, value in enumerate(label.tolist()) if value == c]
            queue, pointer = state['region_queue'][c], state['region_queue_ptr']
            mean = sum(features[:, p] for p in members) / len(members)
            queue[int(pointer[c])] = mean / mean.norm()
            pointer[c] = (pointer[c] + 1) % len(queue)

            queue, pointer = state['pixel_queue'][c], state['pixel_queue_ptr']
            drawn = torch.randperm(len(members)).tolist()[:update]
            chosen = [members[d] if rule == 'class_pure' else d for d in drawn]
            at = int(pointer[c])
            if at + len(chosen) >= len(queue):
                at, pointer[c] = len(queue) - len(chosen), 0
            else:
                pointer[c] += len(chosen)
            for offset, p in enumerate(chosen):
                queue[at + offset] = features[:, p]
    return labels.flatten(1)


def reference_loss(module, state, student, teacher, labels, tau_kd=1.):
    """Both losses, densely, from a state that is already updated."""
    s, t = (F.normalize(x, dim=1).flatten(2).transpose(1, 2)[labels < K]
            for x in (student, teacher))
    losses = {}
    for name, count in (('pixel', module.pixel_slots), ('region', module.region_slots)):
        queue = state[f'{name}_queue']
        keys = queue[:, torch.randperm(queue.shape[1])[:count]].reshape(-1, C)
        q = (s @ keys.T / 0.1 / tau_kd).log_softmax(1)
        p = (t @ keys.T / 0.1 / tau_kd).softmax(1)
        losses[name] = tau_kd ** 2 * (p * (p.log() - q)).sum() / len(s)
    return losses


def assert_state(module, state):
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-12, atol=1e-14, msg=name)


@pytest.mark.parametrize('rule', ['published', 'class_pure'])
@pytest.mark.parametrize('tau_kd', [1., 2.])
def test_loss_and_queues_over_steps(rule, tau_kd):
    module = bank(queue_rule=rule, contrast_kd_temperature=tau_kd)
    state = copy.deepcopy(module.state_dict())
    wrapped = False
    for step in range(6):  # 4 to 16 pixels a class and image: both queues wrap
        student, teacher, labels = batch(seed=step)
        labels[0, :2] = 255
        if step == 1:
            labels[labels == 2] = 255  # a class is missing
        torch.manual_seed(step)
        losses = module(student, teacher, labels)
        torch.manual_seed(step)
        before = state['pixel_queue_ptr'].clone()
        small = reference_update(state, teacher, labels, rule)
        wrapped |= bool((state['pixel_queue_ptr'] < before).any())
        expected = reference_loss(module, state, student, teacher, small, tau_kd)
        assert_state(module, state)
        for name in ('pixel', 'region'):
            assert losses[name].item() == pytest.approx(expected[name].item(), rel=1e-10)
            grad, wanted = (torch.autograd.grad(x[name], student, retain_graph=True)[0]
                            for x in (losses, expected))
            torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-13)
    assert wrapped


def test_pixel_queue_wraps_without_modulo():
    module = bank(pixel_memory_size=8, pixel_update_freq=3)
    student, teacher, _ = batch(n=1)
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    pointers = []
    for _ in range(4):
        old = module.pixel_queue[0].clone()
        module(student, teacher, labels)
        pointers.append(int(module.pixel_queue_ptr[0]))
        changed = (module.pixel_queue[0] != old).any(1).nonzero()[:, 0].tolist()
        if len(pointers) == 3:
            assert changed == [5, 6, 7]  # the last three, not 6, 7, 0
    assert pointers == [3, 6, 0, 3]


def test_a_queue_smaller_than_the_update_is_filled_whole():
    module = bank(pixel_memory_size=3)
    module(*batch())
    assert module.pixel_queue_ptr.tolist() == [0] * K


@pytest.mark.parametrize('rule', ['published', 'class_pure'])
def test_what_the_rules_store(rule):
    module = bank(queue_rule=rule, pixel_update_freq=2)
    student, teacher, _ = batch(n=1)
    labels = torch.full((1, 4, 6), 255)
    labels[0, 3, 4:] = 1  # the last two positions of the map
    module(student, teacher, labels)
    features = F.normalize(teacher, dim=1)[0].flatten(1).T
    where = [int((features - v).norm(dim=1).argmin()) for v in module.pixel_queue[1, :2]]
    assert sorted(where) == ([22, 23] if rule == 'class_pure' else [0, 1])
    assert module.pixel_queue_ptr.tolist() == [0, 2, 0, 0]


@pytest.mark.parametrize('ignored', [255, -1, 3])
def test_all_ignored_is_zero_with_a_graph(ignored):
    module = bank(ignore_index=ignored)
    student, teacher, labels = batch()
    before, generator = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    losses = module(student, teacher, torch.full_like(labels, ignored))
    assert losses['pixel'].item() == 0 and losses['region'].item() == 0
    sum(losses.values()).backward()
    assert student.grad.abs().max() == 0
    assert_state(module, before)
    assert torch.equal(torch.get_rng_state(), generator)


def test_queues_change_in_training_only():
    module = bank().eval()
    before = copy.deepcopy(module.state_dict())
    assert module(*batch())['pixel'] > 0
    assert_state(module, before)
    module.train()
    with torch.no_grad():
        assert not module(*batch())['pixel'].requires_grad
    assert not torch.equal(module.pixel_queue, before['pixel_queue'])


def test_initial_queues_are_unit_vectors_and_saved():
    module = bank()
    assert module.pixel_queue.shape == (K, 40, C) and module.region_queue.shape == (K, 6, C)
    assert (module.pixel_queue.norm(dim=2) - 1).abs().max() < 1e-6
    assert set(module.state_dict()) == {'pixel_queue', 'pixel_queue_ptr', 'region_queue',
                                        'region_queue_ptr'}


def test_weights_and_gradcheck():
    student, teacher, labels = batch(n=1, h=1, w=3)
    module, double = bank().eval(), bank(pixel_weight=2., region_weight=3.).eval()
    results = []
    for m in (module, double):
        torch.manual_seed(0)
        results.append(m(student, teacher, labels))
    for name, factor in (('pixel', 2), ('region', 3)):
        assert results[1][name].item() == pytest.approx(factor * results[0][name].item())

    def fixed_draw(s):
        torch.manual_seed(0)
        return tuple(module(s, teacher, labels).values())
    assert torch.autograd.gradcheck(fixed_draw, student)


def test_unequal_sizes_and_half_precision():
    _, teacher, labels = batch()
    student = torch.randn(2, C, 3, 3, dtype=torch.float16, requires_grad=True)
    module = bank().float()
    with torch.autocast('cpu', torch.bfloat16):
        losses = module(student, teacher.half(), labels)
    assert all(x.dtype == torch.float32 and x.isfinite() for x in losses.values())
    grad, = torch.autograd.grad(sum(losses.values()), student)
    assert grad.dtype == torch.float16 and grad.isfinite().all() and grad.abs().max() > 0


@pytest.mark.parametrize('value', [K, 19, -2, 254])
def test_unknown_labels_are_named(value):
    student, teacher, labels = batch()
    labels[0, 0, 0] = value
    with pytest.raises(ValueError, match=f'value {value}'):
        bank()(student, teacher, labels)


def test_label_255_is_a_class_where_there_are_more():
    module = bank(num_classes=300, pixel_memory_size=3, region_memory_size=3, ignore_index=None)
    student, teacher, labels = batch()
    module(student, teacher, torch.full_like(labels, 255))
    assert module.region_queue_ptr.nonzero().tolist() == [[255]]


@pytest.mark.parametrize('overrides, word', [
    (dict(num_classes=None), 'num_classes=None'), (dict(num_classes=0), 'num_classes'),
    (dict(teacher_channels=None), 'teacher_channels=None'),
    (dict(pixel_memory_size=0), 'pixel_memory_size'), (dict(queue_rule='pure'), 'queue_rule'),
    (dict(contrast_temperature=0), 'contrast_temperature'),
    (dict(region_contrast_size=-1), 'region_contrast_size')])
def test_rejects_bad_arguments(overrides, word):
    with pytest.raises(ValueError, match=word):
        bank(**overrides)


def test_rejects_inputs_that_do_not_fit():
    student, teacher, labels = batch()
    with pytest.raises(ValueError, match='project the student'):
        bank()(student[:, :3], teacher, labels)
    with pytest.raises(ValueError, match='images'):
        bank()(student, teacher, labels[:1])
