"""Students through mmdeploy: importing this package is all that mmdeploy needs.

A deploy config names it in ``codebase_config.module``; mmdeploy then imports it in every process
that exports or runs a model. It makes mmdeploy 1.3.1 work with current torch (:mod:`.compat`),
pools exactly (:mod:`.pooling`) and adds the models that mmdeploy does not know.

Raises:
    ModuleNotFoundError: mmdeploy, onnx or onnxruntime is not installed; says how to install.
"""
import importlib
import importlib.util

_MISSING = [name for name in ('mmdeploy', 'onnx', 'onnxruntime')
            if importlib.util.find_spec(name) is None]
if _MISSING:
    raise ModuleNotFoundError(
        f"{' and '.join(_MISSING)} {'is' if len(_MISSING) == 1 else 'are'} not installed; "
        "`pip install -e '.[deploy]'` in mmkd's folder installs what exporting needs",
        name=_MISSING[0])

from . import (  # noqa: E402
    compat,
    deformable,
    detection,
    detectors,
    openvino_backend,
    pooling,
    segmentation,
)

__all__ = ['compat', 'deformable', 'detection', 'detectors', 'openvino_backend', 'pooling',
           'segmentation']

#: modules for detectors of mmdet3d, which takes seconds to import
_MODULES_3D = ('camera_bev', 'camera_bev_task', 'mono3d', 'voxels')
if importlib.util.find_spec('mmdet3d') is not None:
    for _name in _MODULES_3D:
        importlib.import_module(f'{__name__}.{_name}')
