"""mmengine's loaders go through the safe one, whatever names the checkpoint."""
import pickle

import pytest
import torch
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmkd.utils import checkpoint as mmkd_checkpoint
from mmkd.utils.safe_loading import use_safe_loading


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


@pytest.fixture(autouse=True)
def safe_loading():
    before = dict(CheckpointLoader._schemes)
    use_safe_loading()
    yield
    CheckpointLoader._schemes = before


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A file that would make another file when it is unpickled, and any download gives it."""
    torch.save(dict(state_dict=dict(w=torch.ones(2)), meta=Bomb(str(tmp_path / 'harm'))),
               tmp_path / 'weights.pth')
    with pytest.raises(pickle.UnpicklingError):  # it is no plain data
        torch.load(tmp_path / 'weights.pth')
    monkeypatch.setattr(mmkd_checkpoint, '_download', lambda url: str(tmp_path / 'weights.pth'))
    monkeypatch.setattr(mmengine_checkpoint, 'get_torchvision_models',
                        lambda: dict(resnet18='https://example.org/weights.pth'))
    return tmp_path


@pytest.mark.parametrize('name', [
    '{folder}/weights.pth', 'https://example.org/weights.pth', 'http://example.org/weights.pth',
    'open-mmlab://resnet18_v1c', 'openmmlab://resnet18_v1c', 'torchvision://resnet18'])
def test_weights_are_read_and_nothing_is_run(hostile, name):
    loaded = CheckpointLoader.load_checkpoint(name.format(folder=hostile), 'cpu')
    assert torch.equal(loaded['state_dict']['w'], torch.ones(2))
    assert not (hostile / 'harm').exists()


def test_the_stock_loader_is_whole_again_afterwards(hostile):
    stock = mmengine_checkpoint.load_from_http
    CheckpointLoader.load_checkpoint('open-mmlab://resnet18_v1c', 'cpu')
    assert mmengine_checkpoint.load_from_http is stock
