"""Running the tools as a user does, on a small data set: shared by the tests that do."""
import importlib.util
import os
import re
import socket
import subprocess
import sys

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from mmkd.datasets.drawn import write_cityscapes
from tests.helpers import build, random_bn, tiny_segmentor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLASSES = 19
CONFIG = """
default_scope = 'mmseg'
data_root = {data!r}
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
folders = dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CityscapesDataset', data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=[*pipeline, dict(type='RandomCrop', crop_size=(32, 32)),
                  dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
                  dict(type='PackSegInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CityscapesDataset', data_root=data_root, data_prefix=folders,
                 pipeline=[*pipeline, dict(type='PackSegInputs')]))
test_pipeline = [*pipeline, dict(type='PackSegInputs')]
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=4, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
    visualization=dict(type='SegVisualizationHook'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends)
log_processor = dict(by_epoch=False, window_size=1)  # log each iteration's own losses
randomness = dict(seed=0)
load_from = None
resume = False
model = {model!r}
"""


def write_project(folder, train=8, val=2):
    """A data set, configs of a student and a teacher, the teacher's weights, a distill config.

    Returns the folder as a path; the files are student.py, teacher.py, teacher.pth,
    distill.py (MGD).
    """
    data = write_cityscapes(str(folder / 'data'), train=train, val=val, width=64, height=32,
                            progress=False)
    student = tiny_segmentor(num_classes=CLASSES)
    teacher = tiny_segmentor('PSPHead', width=12, num_classes=CLASSES)
    for name, model in (('student', student), ('teacher', teacher)):
        (folder / f'{name}.py').write_text(CONFIG.format(data=data, model=model))
    torch.save(dict(state_dict=random_bn(build(teacher, 1)).state_dict()),
               folder / 'teacher.pth')
    recipe = os.path.join(ROOT, 'configs', '_base_', 'recipes', 'seg', 'mgd.py')
    (folder / 'distill.py').write_text(
        f"_base_ = ['student.py', {recipe!r}]\n"
        "model = dict(_delete_=True, type='mmkd.OfflineDistiller', student={{_base_.model}},\n"
        "             distillations={{_base_.distillations}},\n"
        f"             teacher=dict(config={str(folder / 'teacher.py')!r},\n"
        f"                          checkpoint={str(folder / 'teacher.pth')!r}))\n")
    return folder


def load_tool(name):
    """tools/<name>.py as a module (it stands beside the package, not in it)."""
    folder = os.path.join(ROOT, 'tools')
    spec = importlib.util.spec_from_file_location(name, os.path.join(folder, f'{name}.py'))
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def environment(**others):
    """The environment of a tool: one thread, this Python, this clone."""
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable,
            'PYTHONWARNINGS': 'ignore', **others}


def command(tool, *args):
    """The command line of a tool."""
    start = ['bash'] if tool.endswith('.sh') else [sys.executable]
    return [*start, os.path.join(ROOT, 'tools', tool), *map(str, args)]


def run(tool, *args, cwd, code=0, **env):
    """Run a tool, check its exit code, and return the completed process."""
    done = subprocess.run(command(tool, *args), cwd=cwd, text=True, capture_output=True,
                          timeout=600, env=environment(**env), check=False)
    assert done.returncode == code, f'exit code {done.returncode}\n{done.stdout[-3000:]}\n' \
                                    f'{done.stderr[-5000:]}'
    return done


class Here:
    """A tool in the test's own process, which saves the seconds of its imports."""

    def __init__(self, monkeypatch, capfd):
        self.patch, self.capture = monkeypatch, capfd

    def run(self, tool, *args, cwd, code=0):
        """Run a tool, check its exit code, and return (stdout, stderr)."""
        self.patch.chdir(cwd)
        for manager in (MMLogger, MessageHub, Visualizer):  # as in a new process
            manager._instance_dict.clear()
        module = load_tool(tool.removesuffix('.py'))
        self.capture.readouterr()
        got = 0
        try:
            module._common.run(module.main, module.parse_args([str(arg) for arg in args]))
        except SystemExit as stop:
            got = stop.code
        out, err = self.capture.readouterr()
        assert got == code, f'exit code {got}\n{out[-3000:]}\n{err[-5000:]}'
        return out, err

    def fails(self, tool, *args, cwd):
        """The one message of a user's mistake."""
        return message_of(self.run(tool, *args, cwd=cwd, code=1)[1])


def message_of(stderr):
    """The one message in what a failed tool printed."""
    assert 'Traceback' not in stderr
    messages = re.findall(r'^error: (.*?)\n\(\w+ in .*:\d+; run again with --debug', stderr,
                          re.DOTALL | re.MULTILINE)
    assert len(messages) == 1, stderr
    return messages[0]


def fails(tool, *args, cwd, **env):
    """The one message of a user's mistake."""
    done = run(tool, *args, cwd=cwd, code=1, **env)
    return message_of(done.stderr)


def free_port():
    """A TCP port that nobody listens on."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def weights_of(path):
    """What a checkpoint file holds, read as plain data."""
    return torch.load(path, weights_only=True)


def assert_same(a, b, where=''):
    """Two checkpoints' contents are equal bit for bit."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f'{where}[{i}]')
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where
