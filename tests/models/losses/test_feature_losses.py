"""FitNet, AT, MGD and AttnFD against their formulas, written out here with plain loops."""
import pytest
import torch

from mmkd.models.losses.feature import ATLoss, AttnFDLoss, CWDLoss, FitNetLoss, MGDLoss

LOSSES = [FitNetLoss(), ATLoss(), MGDLoss(alpha_mgd=0.1), AttnFDLoss()]
IDS = [type(loss).__name__ for loss in LOSSES]
every_loss = pytest.mark.parametrize('loss', LOSSES, ids=IDS)


def maps(shape=(2, 3, 4, 5), other=None, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(shape, generator=generator, dtype=torch.float64)
    teacher = torch.randn(other or shape, generator=generator, dtype=torch.float64)
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def attention(x):
    """AT's map of one sample (C, H, W), element by element."""
    x, values = x.detach(), []
    for row in range(x.shape[1]):
        for col in range(x.shape[2]):
            values.append(sum(float(x[c, row, col]) ** 2 for c in range(x.shape[0])) / x.shape[0])
    length = sum(value ** 2 for value in values) ** 0.5
    return [value / length for value in values]


def test_fitnet_is_the_mean_squared_error():
    student, teacher = maps()
    pairs = list(zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True))
    expected = sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    assert FitNetLoss()(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_mgd_sums_over_everything_but_the_batch():
    student, teacher = maps()
    expected = sum((a - b) ** 2 for a, b in zip(student.flatten().tolist(),
                                                teacher.flatten().tolist(), strict=True))
    loss = MGDLoss(alpha_mgd=2e-5)(student, teacher)
    assert loss.item() == pytest.approx(2e-5 * expected / 2, rel=1e-12)


@pytest.mark.parametrize('loss, ratio', [(MGDLoss(), 4), (CWDLoss(), 1), (FitNetLoss(), 1)],
                         ids=['MGDLoss', 'CWDLoss', 'FitNetLoss'])
def test_what_a_level_weighs_against_the_next_coarser_one(loss, ratio):
    fine, coarse = (loss(*maps((2, 16, side, side))).item() for side in (32, 16))
    assert fine / coarse == pytest.approx(ratio, rel=0.1)


def test_cwd_of_a_level_of_one_cell_is_nothing():
    student, teacher = maps((2, 3, 1, 1))
    value = CWDLoss()(student, teacher)
    value.backward()
    assert value == 0 and not student.grad.any()


def test_at_compares_normalised_energy_maps_of_any_width():
    student, teacher = maps((2, 3, 4, 5), (2, 6, 4, 5))
    total = sum((a - b) ** 2
                for n in range(2)
                for a, b in zip(attention(student[n]), attention(teacher[n]), strict=True))
    assert ATLoss()(student, teacher).item() == pytest.approx(total / 40, rel=1e-12)


@pytest.mark.parametrize('small', [(2, 2), (2, 3)])
def test_at_pools_the_larger_side_to_the_smaller(small):
    big, little = maps((1, 2, 4, 6), (1, 2, *small))
    window = 4 // small[0], 6 // small[1]
    pooled = torch.nn.functional.avg_pool2d(big, window)
    assert ATLoss()(big, little).item() == pytest.approx(ATLoss()(pooled, little).item(), rel=1e-12)
    assert ATLoss()(little, big).item() == pytest.approx(ATLoss()(little, pooled).item(), rel=1e-12)


def test_at_powers():
    student, teacher = maps()
    torch.testing.assert_close(ATLoss(p=3)(student, teacher), ATLoss(p=3, signed=True)(
        student.abs(), teacher.abs()), rtol=1e-12, atol=0)
    assert ATLoss(p=3)(-student, teacher) == ATLoss(p=3)(student, teacher)
    assert ATLoss(p=3, signed=True)(-student, teacher) != ATLoss(p=3, signed=True)(student, teacher)
    with pytest.raises(ValueError, match='p=0.5'):
        ATLoss(p=0.5)
    with pytest.raises(ValueError, match='signed'):
        ATLoss(p=2.5, signed=True)


def test_attnfd_compares_directions_of_the_whole_batch():
    student, teacher = maps()
    s, t = student.flatten().tolist(), teacher.flatten().tolist()
    s_norm, t_norm = sum(a * a for a in s) ** 0.5, sum(b * b for b in t) ** 0.5
    expected = sum((a / s_norm - b / t_norm) ** 2 for a, b in zip(s, t, strict=True)) / 2
    assert AttnFDLoss()(student, teacher).item() == pytest.approx(expected, rel=1e-12)
    # what one global norm means: scaling everything changes nothing, scaling one sample does
    assert AttnFDLoss()(7 * student, teacher).item() == pytest.approx(expected, rel=1e-12)
    louder = torch.cat([7 * student[:1], student[1:]])
    assert abs(AttnFDLoss()(louder, teacher).item() - expected) > 1e-3


def test_attnfd_can_train_the_teachers_side():
    student, teacher = maps()
    teacher.requires_grad_()
    AttnFDLoss(detach_teacher=False)(student, teacher).backward()
    assert teacher.grad.abs().sum() > 0


@every_loss
def test_gradients_match_finite_differences(loss):
    student, teacher = maps((2, 2, 3, 3))
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student)
    smaller, _ = maps((2, 2, 2, 3))
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), smaller)


@every_loss
def test_equal_maps_cost_nothing(loss):
    student, _ = maps()
    value = loss(student, student.detach().clone())
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-15)
    assert student.grad.abs().max() < 1e-12


@every_loss
def test_gradient_stops_at_the_teacher(loss):
    student, teacher = maps()
    teacher.requires_grad_()
    loss(student, teacher).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@every_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_input_is_computed_in_float32(loss, dtype):
    student, teacher = maps(dtype=dtype)
    value = loss(student, teacher)
    value.backward()
    assert value.dtype == torch.float32 and student.grad.dtype == dtype
    exact = loss(student.detach().double(), teacher.double())
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert loss(student, teacher).item() == value.item()


@every_loss
@pytest.mark.parametrize('spoil', ['zero sample', 'all zero', 'constant channel', 'large'])
def test_awkward_maps_give_finite_values_and_gradients(loss, spoil):
    for side in ('student', 'teacher'):
        student, teacher = maps(dtype=torch.float32)
        with torch.no_grad():
            x = {'student': student, 'teacher': teacher}[side]
            if spoil == 'zero sample':
                x[0] = 0
            elif spoil == 'all zero':
                x.zero_()
            elif spoil == 'constant channel':
                x[:, 1] = 3.
            else:
                x *= 1e4
        value = loss(student, teacher)
        value.backward()
        assert value.isfinite() and student.grad.isfinite().all()


@every_loss
def test_zero_maps_on_both_sides_give_zero_with_a_graph(loss):
    student = torch.zeros(1, 2, 3, 3, requires_grad=True)
    value = loss(student, torch.zeros(1, 2, 3, 3))
    value.backward()
    assert value == 0 and student.grad.abs().max() == 0


@every_loss
def test_memory_layout_does_not_matter(loss):
    student, teacher = maps()
    strided = student.detach().to(memory_format=torch.channels_last)[:, :, :, ::2]
    flipped = teacher.transpose(2, 3).contiguous().transpose(2, 3)[:, :, :, ::2]
    expected = loss(strided.contiguous(), flipped.contiguous())
    torch.testing.assert_close(loss(strided, flipped), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize('loss', [FitNetLoss(), MGDLoss(), AttnFDLoss()],
                         ids=['FitNetLoss', 'MGDLoss', 'AttnFDLoss'])
def test_other_sizes_are_resized_and_other_channels_refused(loss):
    student, teacher = maps((2, 3, 2, 4), (2, 3, 4, 5))
    resized = torch.nn.functional.interpolate(student, (4, 5), mode='bilinear',
                                              align_corners=False)
    assert loss(student, teacher) == loss(resized, teacher)
    with pytest.raises(ValueError, match='student has 3 channels, teacher 2.*ConvConnector'):
        loss(student, teacher[:, :2])


@every_loss
def test_batches_and_ranks_must_agree(loss):
    student, teacher = maps()
    with pytest.raises(ValueError, match='batch of 2, teacher of 1'):
        loss(student, teacher[:1])
    with pytest.raises(ValueError, match='N, C, H, W'):
        loss(student[0], teacher)
