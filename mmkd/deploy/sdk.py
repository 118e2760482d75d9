"""The files that mmdeploy's SDK runs an export from: deploy.json, pipeline.json, detail.json.

They also say how a picture becomes the network's input: docs/examples/run_onnx_segmentor.py reads
them with json alone.
"""
import copy
import json
import os

from mmdeploy.backend.sdk.export_info import export2SDK
from mmdeploy.utils import get_codebase, get_input_shape

FILES = ('deploy.json', 'pipeline.json', 'detail.json')


def dump_sdk(model_cfg, deploy_cfg, checkpoint, folder):
    """Write the three files into a folder.

    Args:
        model_cfg (Config): The student's, with ``data_preprocessor`` and ``test_pipeline``.
        deploy_cfg (Config): With the size of a static export.
        checkpoint (str): What detail.json names as the source of the weights.
        folder (str): The folder of the exported file.

    Returns:
        str | None: Why there are none, or None after they were written.
    """
    library = get_codebase(deploy_cfg).value
    if library not in ('mmseg', 'mmdet'):
        return (f"there are no files for mmdeploy's SDK: it has no {library} models, whose points "
                'and cameras are prepared in Python')
    model_cfg, deploy_cfg = copy.deepcopy(model_cfg), copy.deepcopy(deploy_cfg)
    as_it_is = library == 'mmseg' and _prepare_segmentor(model_cfg, get_input_shape(deploy_cfg))
    export2SDK(deploy_cfg, model_cfg, folder, pth=checkpoint, device='cpu')
    if as_it_is:
        _drop_resize(os.path.join(folder, 'pipeline.json'))
    return None


def _prepare_segmentor(cfg, shape):
    """Give a segmentor's config what mmdeploy insists on: a Resize right after loading, a mean and
    a standard deviation.

    Returns:
        bool: The Resize must go again: pictures are taken as they are.
    """
    for key, value in (('mean', [0.] * 3), ('std', [1.] * 3), ('bgr_to_rgb', False)):
        if cfg.data_preprocessor.get(key) is None:
            cfg.data_preprocessor[key] = value
    steps = cfg.test_pipeline
    there = [step for step in steps if step['type'] == 'Resize']
    first = there[0] if there else dict(type='Resize', scale=tuple(shape or (1, 1)),
                                        keep_ratio=False)
    cfg.test_pipeline = [steps[0], first, *(step for step in steps[1:] if step not in there)]
    return not there and shape is None


def _drop_resize(path):
    with open(path, encoding='utf-8') as file:
        content = json.load(file)
    preprocess = content['pipeline']['tasks'][0]
    preprocess['transforms'] = [step for step in preprocess['transforms']
                                if step['type'] != 'Resize']
    with open(path, 'w', encoding='utf-8') as file:
        json.dump(content, file, indent=4)
