"""A project with a detector of mmdet and drawn data, for the tests that run the tools."""
import os

import torch
from mmengine.config import Config

from mmkd.datasets.drawn import write_coco
from tests.detectors import small_detector
from tests.helpers import build, random_bn

NAMES = ('person', 'car', 'dog')
_DATA = """
_base_ = 'mmdet::_base_/default_runtime.py'
metainfo = dict(classes={classes!r})
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True)]
common = dict(type='CocoDataset', data_root={data!r}, metainfo=metainfo)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        common, ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'), filter_cfg=dict(filter_empty_gt=False),
        pipeline=[*pipeline, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        common, ann_file='annotations/instances_val2017.json', test_mode=True,
        data_prefix=dict(img='val2017/'),
        pipeline=[*pipeline, dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(
    type='CocoMetric', metric='bbox', ann_file={data!r} + '/annotations/instances_val2017.json')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(logger=dict(interval=1),
                     checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
log_processor = dict(by_epoch=False, window_size=1)
randomness = dict(seed=0)
model = {model!r}
"""


def write_detection_project(folder, train=8, val=3, kind='gfl'):
    """Drawn data in COCO's layout, configs of a student and a teacher, the teacher's weights.

    Returns the folder as a path; the files are student.py, teacher.py, teacher.pth, recipe.py,
    distill.py (PKD on the neck) and data/.
    """
    data = write_coco(str(folder / 'data'), train=train, val=val, width=96, height=64,
                      classes=NAMES, progress=False)
    model = small_detector(kind)
    model.test_cfg.update(score_thr=0.001, max_per_img=20)  # untrained networks find little
    model = Config(dict(model=model)).to_dict()['model']
    for name in ('student', 'teacher'):
        (folder / f'{name}.py').write_text(
            _DATA.format(data=os.path.abspath(data), model=model, classes=NAMES))
    teacher = build(Config(dict(model=model)).model, 1)
    torch.save(dict(state_dict=random_bn(teacher).state_dict()), folder / 'teacher.pth')
    (folder / 'recipe.py').write_text(
        "distillations = dict(feature=dict(tap='neck', loss=dict(type='mmkd.PKDLoss')))\n")
    (folder / 'distill.py').write_text(
        "_base_ = ['student.py', 'recipe.py']\n"
        "model = dict(_delete_=True, type='mmkd.OfflineDistiller', student={{_base_.model}},\n"
        "             distillations={{_base_.distillations}},\n"
        "             teacher=dict(config='teacher.py', checkpoint='teacher.pth'))\n")
    return folder
