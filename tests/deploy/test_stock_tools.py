"""What mmdeploy's own tools call works with mmkd.deploy loaded by its hook alone."""
import json
import subprocess
import sys

import pytest

from mmkd.deploy.export import read_deploy_config
from tests.cli import environment
from tests.deploy.models import draw, save_weights, segmentor_config
from tests.helpers import tiny_segmentor

#: As mmdeploy's tools/deploy.py: the export in a spawned process, the SDK's files, and a run.
SCRIPT = """
import sys
from mmdeploy.apis import inference_model, torch2onnx
from mmdeploy.apis.core import PIPELINE_MANAGER
from mmdeploy.backend.sdk.export_info import export2SDK
from mmdeploy.utils import load_config

if __name__ == '__main__':
    image, work, deploy_cfg, model_cfg, weights = sys.argv[1:]
    assert 'mmkd' not in sys.modules
    PIPELINE_MANAGER.enable_multiprocess(True, [torch2onnx])
    PIPELINE_MANAGER.set_log_level(40, [torch2onnx])
    torch2onnx(image, work, 'end2end.onnx', deploy_cfg, model_cfg, weights, device='cpu')
    export2SDK(*load_config(deploy_cfg, model_cfg), work, pth=weights, device='cpu')
    (result,) = inference_model(model_cfg, deploy_cfg, [work + '/end2end.onnx'], image, 'cpu')
    print(tuple(result.pred_sem_seg.data.shape), 'mmkd.deploy' in sys.modules)
"""


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """The folder in which mmdeploy's own calls left their files, and what was printed."""
    folder = tmp_path_factory.mktemp('stock')
    cfg = segmentor_config(tiny_segmentor('PSPHead', pool_scales=(1, 2, 3, 6)))
    cfg.test_pipeline.insert(1, dict(type='Resize', scale=(96, 64), keep_ratio=True))
    cfg.data_preprocessor = cfg.model.data_preprocessor
    cfg.dump(folder / 'model.py')
    deploy_cfg = read_deploy_config('segmentation_onnxruntime-static')
    deploy_cfg.onnx_config.input_shape = [96, 64]
    deploy_cfg.dump(folder / 'deploy.py')
    (folder / 'script.py').write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, 'script.py', draw(folder / 'a.png', (64, 96)), str(folder / 'out'),
         'deploy.py', 'model.py', save_weights(cfg.model, folder / 'weights.pth')],
        cwd=folder, env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / 'out', done.stdout


def test_a_spawned_export_runs(exported):
    folder, printed = exported
    assert printed.splitlines()[-1] == '(1, 64, 96) True'
    assert (folder / 'end2end.onnx').stat().st_size > 100_000


def test_the_sdks_files(exported):
    folder, _ = exported
    pipeline = json.loads((folder / 'pipeline.json').read_text())['pipeline']
    assert [task['name'] for task in pipeline['tasks']][0] == 'Preprocess'
    models = json.loads((folder / 'deploy.json').read_text())['models']
    assert models[0]['net'] == 'end2end.onnx'
