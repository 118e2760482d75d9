"""What mmkd has to know of each OpenMMLab library, one file per library.

A library file has the functions below; nothing else in mmkd knows a model's
attributes.

- ``owns(model)``: is this one of the library's models?
- ``called(model)``: what a user recognises the model by.
- ``MEANINGS``: semantic name -> (what it is, which models have it).
- ``tap_names(model)``: semantic name -> taps to try in an inference, in order.
- ``is_meant(model, name, tap, value, calls)``: does this tap give what the name stands for?
- ``places(model)``: paths of modules by which named tensors come.
- ``input_channels(model)``, ``input_sizes(model)``: which images it takes, to be tried.
- ``make_batch(model, size, channels)``: a small random training batch (inputs, data_samples).
- ``forward(model, inputs, data_samples, paths)``: the model's forward as in
  inference, up to the heads' outputs, so that every module in ``paths`` runs.
- ``lacks_labels(data_samples)``: whether a training batch is without annotations.
- ``facts(model)``: constructor arguments known from the model (num_classes, ...).
- ``EXTRAS``: what a loss's forward may ask for -> function(inputs, data_samples).
"""
from . import mmseg

_LIBRARIES = [mmseg]


def library_of(model):
    """The library file that owns ``model``.

    Raises:
        ValueError: None does.
    """
    for library in _LIBRARIES:
        if library.owns(model):
            return library
    names = ', '.join(library.__name__.rpartition('.')[2] for library in _LIBRARIES)
    raise ValueError(f'{type(model).__module__}.{type(model).__name__} is no model of a library '
                     f'that mmkd knows ({names})')


__all__ = ['library_of']
