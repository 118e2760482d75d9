"""The pyramid of which only the finest level is made."""
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.necks import FPN

from mmkd.models.bev import FinestFPN


def test_it_is_the_finest_level_of_mmdets_fpn():
    ours, theirs = FinestFPN([4, 6, 8], 5), FPN([4, 6, 8], 5, num_outs=3)
    for i in range(3):
        theirs.lateral_convs[i].conv.load_state_dict(ours.lateral_convs[i].state_dict())
    theirs.fpn_convs[0].conv.load_state_dict(ours.fpn_conv.state_dict())
    maps = [torch.randn(2, c, *size) for c, size in ((4, (9, 22)), (6, (5, 11)), (8, (3, 6)))]
    out, = ours(maps)
    torch.testing.assert_close(out, theirs(maps)[0])
    out.sum().backward()
    assert all(p.grad is not None for p in ours.parameters())


def test_another_number_of_maps_is_refused():
    with pytest.raises(ValueError, match='out_indices'):
        FinestFPN([4, 6], 5)([torch.randn(1, 4, 8, 8)])


def test_one_map():
    ours = FinestFPN([4], 5)
    x = torch.randn(1, 4, 8, 8)
    lateral = F.conv2d(x, ours.lateral_convs[0].weight, ours.lateral_convs[0].bias)
    torch.testing.assert_close(ours([x])[0], ours.fpn_conv(lateral))
