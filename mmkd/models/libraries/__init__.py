"""What mmkd has to know of each OpenMMLab library: a file per library, and what it is made of.

A library file has the functions below; nothing else in mmkd knows a model's
attributes.

- ``owns(model)``: is this one of the library's models?
- ``called(model)``: what a user recognises the model by.
- ``MEANINGS``: semantic name -> (what it is, which models have it).
- ``tap_names(model)``: semantic name -> taps to try, in order.
- ``SAME_IN_TRAINING``: whether a name's taps are the same in training and inference. If not,
  ``is_meant(model, name, tap, value, calls)`` says whether a tap gives in inference what the name
  stands for, and ``places(model)`` has the paths of modules by which named tensors come.
- ``SIZES``, ``input_channels(model)``, ``input_sizes(model)``: which images it takes, to be tried.
- ``make_batch(model, size, channels)``: a small random training batch (inputs, data_samples).
- ``settle(model)``: give a copy, on which shapes are found out, weights with which it runs, where
  those that nobody has initialised would not.
- ``forward(model, inputs, data_samples, paths, shared)``: the model's forward as in
  inference, up to the heads' outputs, so that every module in ``paths`` runs.
- ``SHARED``: name of a teacher's tap -> name of what the student gives its forward (``shared``).
- ``lacks_labels(data_samples)``: whether a training batch is without annotations.
- ``facts(model)``: constructor arguments known from the model (num_classes, ...).
- ``EXTRAS``: what a loss's forward may ask for -> function of :class:`~mmkd.models.extras.Extras`.
- ``nothing_to_teach(asked, extras, maps)``: whether a batch has no annotation that counts, for a
  loss that asks for these and compares these maps.
- ``dense_head(model)``, where there is one: what connectors and losses know of its head.

Where a batch's inputs are a dict of several modalities, also:

- ``reads(model)``: which of 'points' and 'imgs' it looks at.
- ``check_batch(model, called, inputs, data_samples)``: refuse a batch that it cannot read.
- ``check_parts(model, called)``: refuse a network whose parts do not fit each other.
- ``watch_maps(model)``: a context in which a forward refuses maps that do not fit its head.
- ``layout(model, name, tap)``: the :class:`~mmkd.models.layout.Layout` of what a tap gives.
"""
import importlib
import importlib.util

from mmengine.registry import MODELS, DefaultScope

#: the first that owns a model: mmdet3d's detectors are mmdet's, too
_LIBRARIES = ('mmdet3d', 'mmseg', 'mmdet')
_KINDS = dict(mmdet3d='detectors', mmseg='segmentors', mmdet='detectors')


def library_of(model):
    """The library file that owns ``model``.

    Raises:
        ValueError: None does.
    """
    # A library is imported for its own models alone: it may be missing, or take seconds.
    packages = {cls.__module__.partition('.')[0] for cls in type(model).__mro__}
    for name in _LIBRARIES:
        if name in packages:
            library = importlib.import_module(f'.{name}', __name__)
            if library.owns(model):
                return library
    called = f'{type(model).__module__}.{type(model).__name__}'
    known = [name for name in _LIBRARIES if name in packages]
    if known:
        raise ValueError(f'{called} is no model of a library that mmkd knows: of {known[0]} it '
                         f'knows {_KINDS[known[0]]} alone')
    names = ', '.join(name for name in _LIBRARIES if importlib.util.find_spec(name) is not None)
    raise ValueError(f'{called} is no model of a library that mmkd knows ({names})')


def before_building(model, scope=None):
    """Do what the library of a model config needs before the model is built.

    Args:
        model (dict): The config.
        scope (str, optional): Of the config's file; by default the current one.
    """
    current = DefaultScope.get_current_instance()
    scopes = {scope or (current and current.scope_name), model.get('_scope_'),
              str(model.get('type')).partition('.')[0]}
    if 'mmdet3d' in scopes and importlib.util.find_spec('mmdet3d') is not None:
        importlib.import_module('.mmdet3d_cpu', __name__).work_without_gpu()


def build_network(model):
    """The network of a model config, in the current scope, after :func:`before_building`."""
    before_building(model)
    return MODELS.build(model)


__all__ = ['before_building', 'build_network', 'library_of']
