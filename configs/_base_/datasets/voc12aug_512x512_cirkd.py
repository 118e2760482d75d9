# Augmented VOC (10582 pictures) as CIRKD reads it: scaled from the picture's own size, no colour
# distortion, no limit on one class's share of a crop; evaluated at the picture's own size.
_base_ = ['mmseg::_base_/datasets/pascal_voc12_aug.py', './cirkd_scale.py']
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    {{_base_.random_scale}},
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(datasets=[dict(part, pipeline=train_pipeline)
                           for part in _base_.train_dataloader.dataset.datasets]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
