"""Two classes told apart by one channel and a sigmoid, in losses with a softmax over classes."""
import pytest
import torch

from mmkd.models.losses import CWDLoss, KDLoss

from .test_logit_losses import pair, value_and_grad

BINARY = [KDLoss(), KDLoss(tau=3.), KDLoss(reduction='batch'), KDLoss(reduction='element'),
          KDLoss(tau_squared=False), CWDLoss(norm='spatial', tau=2.),
          CWDLoss(norm='spatial', divergence='mse'),
          CWDLoss(norm='spatial', divergence='cross_entropy')]


@pytest.mark.parametrize('loss', BINARY, ids=repr)
@pytest.mark.parametrize('channels', [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize('size', [(4, 3), (7, 5)])
def test_one_channel_is_the_logit_of_two_classes(loss, channels, size):
    """Value and gradient are those of two channels whose difference is the logit."""
    (student, _), (_, teacher) = pair(2, channels[0], 4, 3), pair(2, channels[1], *size)
    value, grad = value_and_grad(loss(student, teacher), student)
    offset = torch.randn(2, 1, 1, 1, dtype=torch.float64)  # a softmax does not see it
    both = [x if x.shape[1] == 2 else torch.cat([offset.expand_as(x), x + offset], 1)
            for x in (student, teacher)]
    expected, expected_grad = value_and_grad(loss(*both), student)
    assert value == pytest.approx(expected, rel=1e-9) and value > 1e-3
    torch.testing.assert_close(grad, expected_grad)
    assert grad.abs().max() > 1e-6


@pytest.mark.parametrize('tau', [1., 4.])
def test_binary_kd_is_the_formula_of_bernoullis(tau):
    student, teacher = pair(2, 1, 3, 7)
    p, q = torch.sigmoid(teacher / tau), torch.sigmoid(student / tau)
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean() * tau ** 2
    value, grad = value_and_grad(KDLoss(tau)(student, teacher), student)
    expected_value, expected_grad = value_and_grad(expected, student)
    assert value == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize('channels', [(1, 3), (3, 1), (2, 3)])
def test_one_channel_against_more_classes_is_refused(channels):
    (student, _), (_, teacher) = pair(2, channels[0], 4, 3), pair(2, channels[1], 4, 3)
    for loss in (KDLoss(), CWDLoss(norm='spatial'), CWDLoss()):
        with pytest.raises(ValueError, match='channels.*different number of classes'):
            loss(student, teacher)
