# Cityscapes as CIRKD reads it: no colour distortion, no limit on one class's share of a crop.
_base_ = ['mmseg::_base_/datasets/cityscapes.py', './cirkd_scale.py']
crop_size = (512, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    {{_base_.random_scale}},
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
