"""Loading checkpoints, and plain data there and back."""
import collections
import enum
import pickle

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from mmkd.utils.checkpoint import from_plain, load_checkpoint_file, safe_load, to_plain
from tests.helpers import TinyScenes, runner_config, tiny_segmentor

both_formats = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


class HistoryLike:
    """An object that a safe loader does not know."""

    def __init__(self, item):
        self.item = item


@both_formats
def test_tensors_and_containers_come_back_equal(tmp_path, zipped):
    base = torch.arange(12.).view(3, 4)
    data = dict(
        a=base, view=base[1:], t=base.t(), half=base.half(), bf=base.bfloat16(),
        ints=torch.tensor([1, 2]), flag=torch.tensor(True), empty=torch.empty(0, 3),
        param=torch.nn.Parameter(base.clone()), nested=[1, 2.5, 'x', None, (True, b'b')],
        od=collections.OrderedDict(k=torch.ones(1)), s={1, 2}, size=torch.Size([1, 2]),
        dtype=torch.float16, device=torch.device('cpu'), array=np.arange(3.),
        text=np.array(['a', 'b']), number=np.float64(0.1), count=np.int64(7), odd=HistoryLike(1))
    file = tmp_path / 'f.pth'
    torch.save(data, file, _use_new_zipfile_serialization=zipped)
    loaded = safe_load(file)
    for key in ('a', 'view', 't', 'half', 'bf', 'ints', 'flag', 'empty', 'param'):
        assert torch.equal(loaded[key], data[key]) and loaded[key].dtype == data[key].dtype, key
    assert isinstance(loaded['param'], torch.nn.Parameter)
    for key in ('nested', 's', 'size', 'dtype', 'device', 'number', 'count'):
        assert loaded[key] == data[key], key
    assert loaded['array'].tolist() == [0, 1, 2] and loaded['text'].tolist() == ['a', 'b']
    assert loaded['view'].untyped_storage().data_ptr() == \
        loaded['a'].untyped_storage().data_ptr()
    assert 'HistoryLike, not loaded' in repr(loaded['odd']) and loaded['odd'].state == {'item': 1}


def test_a_stock_runners_checkpoint_loads_with_its_log_history(tmp_path):
    assert DATASETS.get('TinyScenes') is TinyScenes
    cfg = runner_config(tiny_segmentor(), tmp_path, iters=3, custom_hooks=[])
    runner = Runner.from_cfg(cfg)
    runner.train()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'iter_3.pth', weights_only=True)
    loaded = safe_load(tmp_path / 'iter_3.pth')
    for key, value in runner.model.state_dict().items():
        assert torch.equal(loaded['state_dict'][key], value), key
    assert loaded['optimizer']['param_groups'][0]['momentum'] == 0.9
    hub = from_plain(loaded['message_hub'])
    for name, buffer in runner.message_hub.log_scalars.items():
        if not name.startswith('train/'):  # the validation comes after the save
            continue
        restored = hub['log_scalars'][name]
        assert isinstance(restored, HistoryBuffer) and len(buffer.data[0])
        for a, b in zip(restored.data, buffer.data, strict=True):
            np.testing.assert_array_equal(a, b)
        assert restored.statistics('mean', 2) == buffer.mean(2)
    assert hub['runtime_info']['max_iters'] == 3


def test_plain_data_loads_with_weights_only(tmp_path):
    class Colour(enum.IntEnum):
        RED = 3

    class Text(str):
        pass

    history = HistoryBuffer([1., 2.], [1, 3], max_length=10)
    pair = collections.namedtuple('Pair', 'a b')
    data = dict(
        f=np.float64(0.1), f32=np.float32(0.5), i=np.int64(3), b=np.bool_(True), s=np.str_('x'),
        ld=np.longdouble(1), when=np.datetime64('2020-01-01'), array=np.arange(3),
        words=np.array(['a', 'b']), objects=np.array([1, None], dtype=object),
        colour=Colour.RED, text=Text('y'), pair=pair(1, np.float64(2)), cfg=ConfigDict(a=dict(b=1)),
        many=collections.defaultdict(list, k=[np.int32(1)]), frozen=frozenset({1}),
        function=len, size=torch.Size([2]), history=history, tensor=torch.ones(2),
        z=1j, raw=b'r', keys={np.int64(1): 'a', (1, 2): 'b'}, none=None)
    file = tmp_path / 'f.pth'
    torch.save(to_plain(data), file)
    loaded = from_plain(torch.load(file, weights_only=True))
    expected = dict(f=0.1, f32=0.5, i=3, b=True, s='x', words=['a', 'b'], objects=[1, None],
                    colour=3, text='y', pair=[1, 2.], cfg=dict(a=dict(b=1)), many=dict(k=[1]),
                    size=[2], raw=b'r', keys={1: 'a', (1, 2): 'b'}, none=None, z=1j)
    for key, value in expected.items():
        assert loaded[key] == value, key
        assert type(loaded[key]) in (type(value), list), key
    assert loaded['array'].tolist() == [0, 1, 2]
    restored = loaded['history']
    assert isinstance(restored, HistoryBuffer) and restored.max_length == 10
    assert [x.tolist() for x in restored.data] == [[1, 2], [1, 3]]
    restored.update(5.)
    assert restored.current() == 5.


@both_formats
@pytest.mark.parametrize('keep', [0, 10, 0.5, 0.98])
def test_truncated_files_say_so(tmp_path, keep, zipped):
    file = tmp_path / 'f.pth'
    torch.save(dict(a=torch.randn(200)), file, _use_new_zipfile_serialization=zipped)
    data = file.read_bytes()
    file.write_bytes(data[:keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(ValueError, match='truncated') as info:
        safe_load(file)
    assert str(file) in str(info.value) and 'again' in str(info.value)


def test_a_file_that_is_none(tmp_path):
    (tmp_path / 'page.pth').write_text('<html>404 not found</html>' * 10)
    with pytest.raises(ValueError, match='not a torch checkpoint'):
        safe_load(tmp_path / 'page.pth')
    (tmp_path / 'iter_100.pth').touch()
    with pytest.raises(FileNotFoundError, match="did you mean 'iter_100.pth'"):
        safe_load(tmp_path / 'iter_10.pth')
    with pytest.raises(FileNotFoundError, match='nor does the folder'):
        safe_load(tmp_path / 'nowhere' / 'a.pth')
    with pytest.raises(FileNotFoundError):
        safe_load(tmp_path)


def test_download_failure_names_the_address_and_the_cure(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))

    def fail(url, target):
        raise OSError('no route')
    monkeypatch.setattr('mmkd.utils.checkpoint.download_url_to_file', fail)
    with pytest.raises(ValueError, match='no route.*give the path'):
        load_checkpoint_file('https://example.org/a.pth')
