"""Two classes told apart by one channel and a sigmoid, by every recipe."""
import pytest

from tests.helpers import build, tiny_distiller, tiny_segmentor
from tests.models.distillers.common import small
from tests.models.test_first_step import step


def binary(channels, **kwargs):
    net = tiny_segmentor(num_classes=2, out_channels=channels, **kwargs)
    if channels == 1:
        net['decode_head'].update(threshold=0.5, loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=True))
    return net


@pytest.mark.parametrize('recipe', ['kd', 'cwd', 'at', 'fitnet', 'mgd', 'cirkd'])
@pytest.mark.parametrize('channels', [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_binary_segmentation_by_every_recipe(recipe, channels):
    cfg = tiny_distiller(small(recipe), binary(channels[0]),
                         binary(channels[1], head='PSPHead', width=12))
    if channels[0] != channels[1] and recipe in ('cwd', 'mgd'):
        with pytest.raises(ValueError) as info:
            build(cfg)
        for part in ('one channel with a sigmoid', 'only mmkd.KDLoss compares them'):
            assert part in str(info.value)
        return
    model = build(cfg)
    log = step(model, num_classes=2)
    assert model._first_step.done == set(model.distiller)
    assert all(value > 0 for key, value in log.items() if key.startswith('loss_'))
