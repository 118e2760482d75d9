"""Each fix for current torch is still needed, and helps: the failure is shown without it."""
import contextlib
import io
import pickle
import warnings

import pytest
import torch
from mmcv.ops import RoIAlign
from mmdeploy.core import FUNCTION_REWRITER, RewriterContext
from mmdeploy.core.rewriters import function_rewriter
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from torch import fx
from torch.onnx import symbolic_opset9

from mmkd.deploy import compat

CFG = dict(backend_config=dict(type='onnxruntime'),
           onnx_config=dict(type='onnx', opset_version=16))


def export(model, args, **kwargs):
    """The bytes that torch.onnx.export writes when mmdeploy calls it."""
    file = io.BytesIO()
    with RewriterContext(CFG, backend='onnxruntime'), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        torch.onnx.export(model, args, file, opset_version=16, **kwargs)
    return file.getvalue()


def test_mmdeploys_export_traces(monkeypatch):
    import onnx
    relu = torch.nn.ReLU(), (torch.randn(2, 3),)
    assert onnx.load_from_string(export(*relu)).opset_import[0].version == 16
    monkeypatch.delitem(FUNCTION_REWRITER._registry._rewrite_records, 'torch.onnx.export')
    try:  # without the fix: the other exporter, which writes opset 18 or nothing
        with contextlib.redirect_stdout(io.StringIO()):
            version = onnx.load_from_string(export(*relu)).opset_import[0].version
    except Exception as error:
        version = error
    assert version != 16


def test_outside_of_mmdeploy_the_exporter_is_torchs_own():
    with RewriterContext(CFG, backend='onnxruntime'):
        pass
    assert torch.onnx.export.__module__ == 'torch.onnx'


class Align(torch.nn.Module):
    def forward(self, x, boxes):
        return RoIAlign((2, 2), spatial_scale=0.5, sampling_ratio=0, aligned=True)(x, boxes)


def test_roi_align_finds_what_torch_no_longer_has(monkeypatch):
    import onnxruntime
    x, boxes = torch.randn(1, 3, 8, 8), torch.tensor([[0., 1., 2., 9., 8.], [0., 3., 3., 4., 4.]])
    session = onnxruntime.InferenceSession(export(Align(), (x, boxes), input_names=['x', 'boxes']))
    (got,) = session.run(None, dict(x=x.numpy(), boxes=boxes.numpy()))
    torch.testing.assert_close(torch.from_numpy(got), Align()(x, boxes))
    assert symbolic_opset9._cast_Long is compat.cast_long  # else torch has it again: drop the fix
    monkeypatch.delattr(symbolic_opset9, '_cast_Long')
    with pytest.raises(ImportError, match='_cast_Long'):
        export(Align(), (x, boxes))


def test_torch_fx_can_wrap_in_mmdeploys_context(monkeypatch):
    def wrap():
        rewriter = function_rewriter.FunctionRewriter()
        rewriter.enter()
        exec("import torch\ndef f(x): return x\ntorch.fx.wrap('f')", {'__name__': 'some'})
        rewriter.exit()

    wrap()
    wrapped = dict(fx._symbolic_trace._wrapped_fns_to_patch)
    monkeypatch.setattr(fx._symbolic_trace, '_wrapped_fns_to_patch', wrapped)
    monkeypatch.setattr(function_rewriter, '_wrapped_fns_to_patch', wrapped)  # without the fix
    with pytest.raises(KeyError):
        wrap()


def test_a_stock_runners_checkpoint_loads(tmp_path):
    path = str(tmp_path / 'iter_1.pth')
    torch.save(dict(state_dict=dict(weight=torch.ones(1)),
                    message_hub=dict(log=HistoryBuffer([1.], [1]))), path)
    assert CheckpointLoader.load_checkpoint(path)['state_dict']['weight'] == 1
    with pytest.raises(pickle.UnpicklingError):  # what mmengine itself calls
        torch.load(path)
