"""The losses on maps of FD3D's HeatmapDistiller and of FSD-BEV."""
import pytest
import torch

from mmkd.models.losses.bev import FD3DHeatmapLoss, FSDBEVLoss


def maps(batch=2, size=(6, 4)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, batch, 3, *size, generator=generator, dtype=torch.float64)


def heatmaps(batch=2, size=(6, 4)):
    """Of two tasks: row 4, column 1 of the first sample, and half of it to the left."""
    found = [torch.zeros(batch, 2, *size), torch.zeros(batch, 1, *size)]
    found[0][0, 1, 4, 1], found[1][0, 0, 4, 0] = 1., .5
    return found


def test_the_largest_of_all_classes_weighs_a_cell():
    student, teacher = maps()
    student.requires_grad_()
    loss = FD3DHeatmapLoss()(student, teacher, heatmaps())
    error = (student - teacher).square().sum(1)[0]
    torch.testing.assert_close(loss, (error[4, 1] + .25 * error[4, 0]) / 1.5)
    loss.backward()
    assert student.grad.abs().sum(1).nonzero().tolist() == [[0, 4, 0], [0, 4, 1]]


def test_no_box_is_zero():
    student, teacher = maps()
    student.requires_grad_()
    loss = FD3DHeatmapLoss()(student, teacher, [x * 0 for x in heatmaps()])
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_maps_of_other_cells_are_compared_on_the_teachers():
    teacher = maps(size=(12, 8))[1]
    loss = FD3DHeatmapLoss()(maps()[0], teacher, heatmaps())
    assert torch.isfinite(loss) and loss > 0


def test_a_cell_counts_relative_to_the_teachers_length():
    student, teacher = maps()
    expected = sum(((student[b, :, i, j] - teacher[b, :, i, j])
                    / teacher[b, :, i, j].norm()).square().sum()
                   for b in range(2) for i in range(6) for j in range(4)) / 48
    torch.testing.assert_close(FSDBEVLoss()(student, teacher), expected, rtol=1e-6, atol=0)
    scale = 1 + torch.rand(2, 1, 6, 4, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(FSDBEVLoss()(student * scale, teacher * scale), expected,
                               rtol=1e-6, atol=0)


def test_an_empty_cell_of_the_teacher_is_finite():
    student, teacher = (x.float() for x in maps())
    student.requires_grad_()
    teacher[0, :, 2] = 0
    loss = FSDBEVLoss()(student, teacher)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()
    assert FSDBEVLoss(eps=1.)(student, teacher) < 100
    with pytest.raises(ValueError, match='above 0'):
        FSDBEVLoss(0.)
