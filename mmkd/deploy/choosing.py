"""Which deploy config a model takes, and the size of a static export."""
import os

from mmdeploy.utils import get_codebase, get_ir_config, get_task_type, is_dynamic_shape

from .export import deploy_config_names, read_deploy_config


def default_name(task, backend='onnxruntime'):
    """The name of the deploy config that a task takes when none is given."""
    shape = task.shapes[0]
    return f'{task.name}_{backend}' + (f'-{shape}' if shape else '')


def deploy_config_for(task, name=None):
    """(name, Config) of the deploy config called ``name``, or of the task's default.

    Raises:
        FileNotFoundError: There is none of that name.
        ValueError: It is made for another task, or for a backend that does not run this one.
    """
    name = name or default_name(task)
    cfg, own = read_deploy_config(name), read_deploy_config(default_name(task))
    fitting = ', '.join(one for one in deploy_config_names() if one.startswith(f'{task.name}_'))
    if what(cfg) != what(own):
        raise ValueError(f"deploy config {name!r} is for {' '.join(what(cfg))}, and this model is "
                         f"one for {' '.join(what(own))}: take {fitting}")
    backend = cfg.backend_config.get('type')
    if backend not in task.backends:
        raise ValueError(f'deploy config {name!r} is for {backend}, which does not run graphs of '
                         f'{task.name} (docs/deploy.md says why): take {fitting}')
    modules = cfg.codebase_config.get('module') or []
    if 'mmkd.deploy' not in modules:  # a config of the user's own
        cfg.codebase_config.module = [*modules, 'mmkd.deploy']
    return os.path.basename(name).removesuffix('.py'), cfg


def check_layers(model, backend):
    """Refuse a model with an operator that a backend lacks, before minutes of exporting.

    Raises:
        ValueError: It has deformable convolutions. mmdeploy writes those with masks for OpenVINO
            as an operator of its own, and those without as one that computes something else there.
    """
    if backend != 'openvino':
        return
    for name, layer in model.named_modules():
        if any('DeformConv' in cls.__name__ for cls in type(layer).__mro__):
            raise ValueError(
                f'{name} is a deformable convolution, which mmdeploy cannot export for OpenVINO: '
                'take a deploy config for onnxruntime, or train the model without (dcn=False in '
                'mmkd.DepthNet, no dcn in a backbone, dcn_on_last_conv=False in a head of mmdet3d)')


def what(deploy_cfg):
    """(library, task) that a deploy config is for, and 'with masks' or 'without masks' of mmdet's:
    mmdeploy has one task for both, and would lose the masks without a word."""
    config = deploy_cfg.codebase_config
    try:
        found = get_codebase(deploy_cfg).value, get_task_type(deploy_cfg).value
    except (AssertionError, KeyError, ValueError):
        return str(config.get('type')), str(config.get('task'))
    if found != ('mmdet', 'ObjectDetection'):
        return found
    masks = 'masks' in (get_ir_config(deploy_cfg).get('output_names') or ())
    return *found, 'with masks' if masks else 'without masks'


def is_static(deploy_cfg):
    """Does the export take inputs of one size alone?"""
    return not is_dynamic_shape(deploy_cfg)


def fix_size(deploy_cfg, size):
    """Write the size of a static export into a deploy config that has none.

    Args:
        size (tuple): (height, width) of the network's input; None where it is no image.
    """
    if size is None:
        return
    config = get_ir_config(deploy_cfg)
    if is_static(deploy_cfg) and config.get('input_shape') is None:
        config.input_shape = [size[1], size[0]]  # mmdeploy's order
    inputs = deploy_cfg.backend_config.get('model_inputs')
    if not inputs:
        return
    width, height = config.input_shape or (size[1], size[0])
    for shapes in inputs:  # OpenVINO and TensorRT have their sizes here
        for name, shape in shapes.get('opt_shapes', {}).items():
            if shape is None:
                shapes.opt_shapes[name] = [1, 3, height, width]
        for one in shapes.get('input_shapes', {}).values():
            for key, shape in one.items():
                if shape is None:
                    one[key] = [1, 3, height, width]


def fixed_size(deploy_cfg):
    """(height, width) of a static export, or None."""
    shape = get_ir_config(deploy_cfg).get('input_shape')
    return (shape[1], shape[0]) if shape is not None and is_static(deploy_cfg) else None
