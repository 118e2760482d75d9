"""SLidR's superpixel loss, as its official code computed it, built on segment_mean."""
import json

import pytest
import torch
import torch.nn.functional as F

from mmkd.ops import segment_mean

from .common import DEVICES, RECORDED, recorded


@pytest.mark.parametrize('device', DEVICES)
def test_superpixel_means_reproduce_the_recorded_loss_and_gradients(device):
    case = recorded('slidr_ordinary', device)
    args = json.loads((RECORDED / 'slidr_ordinary.json').read_text())['args']
    points = case['point_feat'].double().requires_grad_()
    image = case['image_feat'].double().requires_grad_()
    superpixels = case['superpixels']
    images, per_image = superpixels.shape[0], args['superpixel_size']
    offset = torch.arange(images, device=device)[:, None, None] * per_image
    ids, total = superpixels + offset, images * per_image
    n, row, column = case['pairing_images'].unbind(1)
    k = segment_mean(points[case['pairing_points']], ids[n, row, column], total, eps=1e-6)
    q = segment_mean(image.permute(0, 2, 3, 1).reshape(-1, image.shape[1]), ids.flatten(), total,
                     eps=1e-6)
    seen = k[:, 0] != 0  # the official test for a superpixel with points
    assert 0 < seen.sum() < total
    logits = k[seen] @ q[seen].t() / args['temperature']
    loss = F.cross_entropy(logits, torch.arange(len(logits), device=device))
    loss.backward()
    # Recorded in float32.
    torch.testing.assert_close(loss.float(), case['loss'], rtol=1e-5, atol=0)
    torch.testing.assert_close(points.grad.float(), case['grad_point_feat'], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(image.grad.float(), case['grad_image_feat'], rtol=1e-4, atol=1e-6)
