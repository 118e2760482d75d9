"""Loading a checkpoint runs nothing of what is inside it."""
import builtins
import collections
import io
import operator
import os
import pathlib
import pickle
import sys

import numpy as np
import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from mmkd.utils.checkpoint import PlainUnpickler, from_plain, safe_load
from mmkd.utils.safe_loading import use_safe_loading

both_formats = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


class Call:
    """An object whose unpickling calls ``function(*args)``."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args

    def __call__(self):  # pickle wants the functions it writes to be callable
        raise NotImplementedError


def _array(item):
    array = np.empty(2, dtype=object)
    array[0] = item
    return array


def _bomb(mark):
    """A pickle whose full loading creates ``mark``."""
    return pickle.dumps(Call(os.mkdir, str(mark)))


def _torch_bomb(mark, folder):
    torch.save(Call(os.mkdir, str(mark)), folder / 'inner.pth')
    return (folder / 'inner.pth').read_bytes()


ATTACKS = dict(
    plain=lambda mark, _: Call(os.mkdir, mark),
    system=lambda mark, _: Call(os.system, f'touch {mark}'),
    nested=lambda mark, _: [({'deep': (Call(os.mkdir, mark),)},)],
    key=lambda mark, _: {Call(os.mkdir, mark): 1},
    ordered=lambda mark, _: collections.OrderedDict(a=Call(os.mkdir, mark)),
    object_array=lambda mark, _: _array(Call(os.mkdir, mark)),
    eval=lambda mark, _: Call(builtins.eval, f'__import__("os").mkdir({mark!r})'),
    exec=lambda mark, _: Call(builtins.exec, f'import os; os.mkdir({mark!r})'),
    getattr=lambda mark, _: Call(Call(builtins.getattr, pathlib.Path, 'mkdir'),
                                 Call(pathlib.Path, mark)),
    methodcaller=lambda mark, _: Call(operator.methodcaller('mkdir'), Call(pathlib.Path, mark)),
    pickle_loads=lambda mark, _: Call(pickle.loads, _bomb(mark)),
    torch_bytes=lambda mark, folder: Call(torch.storage._load_from_bytes,
                                          _torch_bomb(mark, folder)),
    numpy_load=lambda mark, folder: Call(np.load, str(folder / 'x.npy'), None, True),
    state=lambda mark, _: HistoryLike(Call(os.mkdir, mark)),
)


class HistoryLike:
    """An object with a hostile state."""

    def __init__(self, item):
        self.item = item


@both_formats
@pytest.mark.parametrize('attack', ATTACKS)
def test_nothing_in_a_file_runs(tmp_path, attack, zipped):
    mark = str(tmp_path / 'mark')
    np.save(tmp_path / 'x.npy', _array(Call(os.mkdir, mark)), allow_pickle=True)
    hostile = ATTACKS[attack](mark, tmp_path)
    file = tmp_path / 'f.pth'
    torch.save(dict(weight=torch.ones(2), hostile=hostile), file,
               _use_new_zipfile_serialization=zipped)
    loaded = safe_load(file)
    assert not os.path.exists(mark)
    assert torch.equal(loaded['weight'], torch.ones(2)), 'the plain part is still there'
    repr(loaded)  # using what stands in for the object does nothing either
    from_plain(loaded)
    assert not os.path.exists(mark)
    safe_load(file, trust=True)
    assert os.path.exists(mark), 'the attack works, so the test proves something'


def _program(*lines):
    return b''.join(lines) + b'.'


@pytest.mark.parametrize('program', [
    # attributes of what the file may name: getattr chains, class and function state
    _program(b'c__builtin__\ngetattr\n(c__builtin__\n__import__\nS"os"\ntR'),
    _program(b'\x80\x04\x8c\x0ctorch._utils\x8c\x1e_rebuild_tensor_v2.__globals__\x93'),
    _program(b'\x80\x04\x8c\x05torch\x8c\x10serialization.os\x93'),
    _program(b'ctorch\nos\n'), _program(b'ctorch.storage\nio\n'),
    _program(b'cnumpy.dtypes\n__builtins__\n'), _program(b'cnumpy\nos\n'),
    _program(b'ccollections\n_sys\n'), _program(b'ctorch._utils\ntraceback\n'),
], ids=range(9))
def test_names_lead_only_to_placeholders(program):
    value = PlainUnpickler(io.BytesIO(program)).load()
    kind = value if isinstance(value, type) else type(value)
    assert kind.__mro__[-2].__name__ == 'Placeholder'


def test_a_file_cannot_change_classes_it_names():
    for module, name in (('torch', 'FloatStorage'), ('torch._utils', '_rebuild_tensor')):
        # (None, {'marked': 1}) as the state of the class or function itself
        program = f'c{module}\n{name}\n(N(dVmarked\nI1\nstb.'.encode()
        with pytest.raises(pickle.UnpicklingError, match='state for'):
            PlainUnpickler(io.BytesIO(program)).load()
        target = getattr(torch if module == 'torch' else torch._utils, name)
        assert not hasattr(target, 'marked')


def test_importing_is_no_way_to_run_code():
    PlainUnpickler(io.BytesIO(b'cnumpy.f2py.__main__\ndtype\n.')).load()
    assert 'numpy.f2py.__main__' not in sys.modules


def test_mmengine_loads_safely_once_told(tmp_path, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy())
    use_safe_loading()
    mark = tmp_path / 'mark'
    torch.save(dict(state_dict=dict(a=torch.ones(1)), bad=Call(os.mkdir, str(mark))),
               tmp_path / 'f.pth')
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'f.pth'), map_location='cpu')
    assert torch.equal(loaded['state_dict']['a'], torch.ones(1)) and not mark.exists()
