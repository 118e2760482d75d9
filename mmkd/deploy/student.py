"""The student alone: its config as mmdeploy wants it, and weights that are exactly its own."""
import copy
import io
import os

import torch
from mmengine.registry import DefaultScope

from ..apis import fitting_weights, student_only
from ..models.libraries import build_network
from ..utils.configs import read_config


class Student:
    """A student, taken from a distill config and a checkpoint of that training, or from any model's
    config and weights.

    mmdeploy loads what fits and would export random weights for the rest; here a key that is
    missing, left over or of another shape is an error.

    Args:
        config (str | Config): The distill config, or the model's own.
        checkpoint (str): File or address.

    Attributes:
        cfg (Config): Of the student alone, with ``model.data_preprocessor`` and ``test_pipeline``.
        model (nn.Module): With the weights, in eval mode, on the CPU.
        notes (list of str): What in the config is not as it will be exported.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The checkpoint does not hold exactly this student.
    """

    def __init__(self, config, checkpoint):
        read = read_config(config)
        cfg = student_only(read)
        self.cfg, self.notes = cfg, []
        preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
        if preprocessor is None:
            raise ValueError(f'{config}: the model has no data_preprocessor, so that nobody knows '
                             'how its inputs are normalized')
        # mmdeploy's tasks read the one, its SDK the other.
        cfg.model.data_preprocessor = cfg.data_preprocessor = preprocessor
        loader = cfg.get('val_dataloader') or cfg.get('test_dataloader')
        pipeline = loader.dataset.get('pipeline') if loader else None
        if pipeline is not None:
            cfg.test_pipeline = copy.deepcopy(pipeline)
        elif cfg.get('test_pipeline') is None:
            raise ValueError(f'{config} has neither a test_pipeline nor a val_dataloader with one: '
                             'nobody knows how its inputs are read')
        test_cfg = cfg.model.get('test_cfg') or {}
        if test_cfg.get('mode') == 'slide':
            cfg.model.test_cfg = dict(mode='whole')
            self.notes.append("test_cfg.mode is 'slide' (a window of "
                              f"{tuple(test_cfg.get('crop_size', ()))}); the exported model sees "
                              'the whole picture at once, and so does the PyTorch model here')
        model_cfg = copy.deepcopy(cfg.model)
        model_cfg.pop('pretrained', None)
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
            self.model = build_network(model_cfg)
        state, _ = fitting_weights(self.model, checkpoint, read)
        self.model.load_state_dict(state)
        self.model.eval().requires_grad_(False)

    def save_weights(self, folder):
        """Write the weights alone into ``folder``; returns the file's path."""
        path = os.path.join(folder, 'weights.pth')
        content = io.BytesIO()  # torch.save's own error for a full disk names no disk
        torch.save(dict(state_dict=self.model.state_dict()), content)
        with open(path, 'wb') as file:
            file.write(content.getbuffer())
        return path
