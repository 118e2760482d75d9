"""Exact adaptive pooling: the matrices, and PSPNet through ONNX Runtime, static and dynamic."""
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdeploy.core import RewriterContext

from mmkd.deploy.pooling import averages
from mmkd.deploy.tasks import TASKS
from tests.deploy.models import Pair, draw, segmentor_config
from tests.helpers import tiny_segmentor


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_matrices_average_as_pytorch_does(height, width, rows, columns):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    got = averages(height, rows, x) @ x @ averages(width, columns, x).T
    torch.testing.assert_close(got, F.adaptive_avg_pool2d(x, (rows, columns)))


@pytest.mark.parametrize('size', [(3, 5), (None, 4), (2, None), 1, (1, 3), (1, 1)])
def test_every_output_size_in_mmdeploys_context(size):
    x = torch.randn(2, 3, 7, 11)
    wanted = F.adaptive_avg_pool2d(x, size)
    cfg = dict(backend_config=dict(type='onnxruntime'), onnx_config=dict(type='onnx'))
    with RewriterContext(cfg, backend='onnxruntime'):
        got = F.adaptive_avg_pool2d(x, size)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize('shape', ['static', 'dynamic'])
def test_pspnet_is_exact(tmp_path, shape):
    cfg = segmentor_config(tiny_segmentor('PSPHead', pool_scales=(1, 2, 3, 6)))
    task = TASKS['segmentation']
    pair = Pair(cfg, f'segmentation_onnxruntime-{shape}', tmp_path,
                draw(tmp_path / 'a.png', (72, 104)))
    for size in [(72, 104)] + [(88, 136), (41, 67)] * (shape == 'dynamic'):
        data = task.read(cfg, draw(tmp_path / 'b.png', size))
        got = task.compare(pair.pytorch, pair.exported, data)
        assert got['logits'] < 1e-5 and got['equal'] >= 0.999 * got['pixels'], (size, got)
