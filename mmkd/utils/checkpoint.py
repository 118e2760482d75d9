"""Reading and writing checkpoints without running what is inside them.

A pickle can run any code while it loads. mmkd never fully unpickles a file
unless its user says so for that file: what mmkd writes is plain data that
``torch.load(weights_only=True)`` reads, and what a stock Runner wrote (its
logs are pickled objects, which torch >= 2.6 refuses) goes through
:class:`PlainUnpickler`, which builds tensors, containers, numbers and strings
and an inert :class:`Placeholder` for everything else.
"""
import builtins
import collections
import os
import pickle
import sys
import types

import numpy as np
import torch
from torch.hub import download_url_to_file, get_dir

from .paths import does_not_exist

_HISTORY = '__mmkd_history__'
_SCALARS = (bool, int, float, complex, str, bytes)
_BUILTINS = {'bytearray', 'complex', 'dict', 'frozenset', 'int', 'float', 'list', 'set', 'slice',
             'str', 'tuple', 'bool', 'range'}
_NUMPY = {('numpy', 'dtype'): np.dtype, ('numpy', 'ndarray'): np.ndarray,
          ('numpy.core.multiarray', '_reconstruct'): np.core.multiarray._reconstruct,
          ('numpy.core.multiarray', 'scalar'): np.core.multiarray.scalar,
          ('numpy.core.numeric', '_frombuffer'): np.core.numeric._frombuffer}
_TORCH_UTILS = {'_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter',
                '_rebuild_parameter_with_state'}


class Placeholder:
    """What stands in a loaded checkpoint where an unknown object was pickled.

    It does nothing. ``args`` and ``state`` keep the plain data the object was
    to be made of.
    """

    def __new__(cls, *args, **kwargs):
        self = object.__new__(cls)
        self.args, self.state, self.items = args, None, []
        return self

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        self.state = state

    def append(self, item):
        self.items.append(item)

    def extend(self, items):
        self.items.extend(items)

    def __call__(self, *args, **kwargs):  # what getattr(object, 'method') stood for
        return Placeholder(*args)

    def __setitem__(self, key, value):
        self.items.append((key, value))

    def __repr__(self):
        return f'<{type(self).__name__}, not loaded>'


def _is_class(value, *bases):
    return isinstance(value, type) and issubclass(value, bases)


def _encode(text, encoding):
    # How Python 2 protocols store bytes; other codecs (zip, ...) are not data.
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes stored with codec {encoding!r}')
    return text.encode(encoding)


class PlainUnpickler(pickle._Unpickler):
    """Builds tensors, containers, numbers and strings, and placeholders.

    The Python form of the unpickler: in the C form nothing can stop a file from
    setting attributes of the classes and functions that it names.
    """
    dispatch = dict(pickle._Unpickler.dispatch)

    def load_build(self):
        target = self.stack[-2]
        if not isinstance(target, (Placeholder, np.ndarray, np.dtype, collections.OrderedDict)):
            raise pickle.UnpicklingError(f'state for {target!r}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module, name):
        if module in ('builtins', '__builtin__') and name in _BUILTINS:
            return getattr(builtins, name)
        if (module, name) == ('collections', 'OrderedDict'):
            return collections.OrderedDict
        if (module, name) == ('_codecs', 'encode'):
            return _encode
        if module == 'torch._utils' and name in _TORCH_UTILS:
            return getattr(torch._utils, name)
        if module in ('torch', 'torch.storage', 'numpy.dtypes'):
            known = getattr(sys.modules[module], name, None)
            if known in (torch.Size, torch.device) or isinstance(known, torch.dtype) \
                    or _is_class(known, torch.UntypedStorage, torch.TypedStorage, np.dtype):
                return known
        known = _NUMPY.get((module.replace('numpy._core', 'numpy.core'), name))
        if known is not None:
            return known
        return type(f'{module}.{name}', (Placeholder,), {})


#: what ``torch.load(pickle_module=...)`` wants: a module with these names
_PLAIN_PICKLE = types.SimpleNamespace(
    __name__='mmkd.utils.checkpoint', Unpickler=PlainUnpickler,
    load=lambda file, **kwargs: PlainUnpickler(file, **kwargs).load(),
    UnpicklingError=pickle.UnpicklingError)


def safe_load(filename, map_location='cpu', trust=False):
    """Load a checkpoint file without running code in it.

    Args:
        filename: Path of a local file.
        map_location: As in ``torch.load``.
        trust: Unpickle the file fully. Only for a file whose maker you trust.

    Raises:
        FileNotFoundError: There is no such file; the message names near ones.
        ValueError: The file is truncated or is no checkpoint.
    """
    filename = os.path.expanduser(os.fspath(filename))
    if not os.path.isfile(filename):
        raise FileNotFoundError(f'checkpoint {does_not_exist(filename)}')
    try:
        if trust:
            return torch.load(filename, map_location=map_location, weights_only=False)
        try:
            return torch.load(filename, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError:
            return torch.load(filename, map_location=map_location, weights_only=False,
                              pickle_module=_PLAIN_PICKLE)
    except Exception as error:
        size = os.path.getsize(filename)
        raise ValueError(
            f'checkpoint {filename!r} ({size} bytes) cannot be read: it is truncated or not a '
            f'torch checkpoint ({type(error).__name__}: {str(error)[:120]}). Copy '
            'or download it again, or use the previous checkpoint of that run') from error


def _download(url):
    """The local copy of ``url`` in torch's hub cache, fetched once."""
    folder = os.path.join(get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, os.path.basename(url.split('?')[0]))
    if not os.path.exists(target):
        download_url_to_file(url, target)
    return target


def load_checkpoint_file(source, map_location='cpu', trust=False):
    """Load a checkpoint from a path or an http(s) address, safely (see :func:`safe_load`)."""
    if str(source).startswith(('http://', 'https://')):
        try:
            source = _download(source)
        except OSError as error:
            raise ValueError(
                f'checkpoint {source!r} cannot be downloaded ({error}). Download it where there '
                'is a network and give the path of the file instead') from error
    return safe_load(source, map_location, trust)


def to_plain(value):
    """``value`` as data that ``weights_only=True`` loads; see :func:`from_plain`.

    numpy numbers and arrays become Python numbers and tensors, mmengine's
    HistoryBuffer a marked dict, and anything else its ``repr``.
    """
    if value is None or isinstance(value, torch.Tensor):
        return value
    for kind in _SCALARS:
        if isinstance(value, kind):  # not the value: np.float64 and enums are subclasses
            return kind(value)
    if isinstance(value, np.generic):
        return to_plain(value.item()) if type(value.item()) in _SCALARS else repr(value)
    if isinstance(value, np.ndarray):
        try:
            return torch.from_numpy(value.copy())
        except TypeError:  # text, objects
            return to_plain(value.tolist())
    if isinstance(value, dict):
        # type(value)(...) would keep Config dicts, which are no plain data.
        return {to_plain(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        kind = type(value) if type(value) in (list, tuple, set) else list
        return kind(to_plain(item) for item in value)
    if type(value).__name__ == 'HistoryBuffer' and hasattr(value, 'data'):
        log, count = value.data
        return {_HISTORY: [torch.from_numpy(np.array(log, dtype=np.float64)),
                           torch.from_numpy(np.array(count, dtype=np.float64)),
                           int(value.max_length)]}
    return repr(value)


def from_plain(value):
    """Undo :func:`to_plain` for HistoryBuffers, also for those of a stock Runner's file."""
    from mmengine.logging import HistoryBuffer
    if isinstance(value, dict):
        if set(value) == {_HISTORY}:
            log, count, length = value[_HISTORY]
            return HistoryBuffer(log.tolist(), count.tolist(), max_length=length)
        return {k: from_plain(v) for k, v in value.items()
                if not isinstance(v, Placeholder) or _is_history(v)}
    if isinstance(value, Placeholder) and _is_history(value):
        return HistoryBuffer(value.state['_log_history'].tolist(),
                             value.state['_count_history'].tolist(),
                             max_length=value.state['max_length'])
    return value


def _is_history(value):
    return type(value).__name__.endswith('.HistoryBuffer') and isinstance(value.state, dict)
