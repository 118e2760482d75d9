# AttnFD's pipelines: shorter side 513 times 0.5 to 2, crop 513x513, flip; evaluation at shorter
# side 513. (Its Gaussian blur, for which mmseg has no transform, is left out. It also shrinks the
# ground truth for evaluation; here predictions are scored at full resolution.)
crop = (513, 513)
shorter_side = (4096, 513)
pipeline_train = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=shorter_side, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
pipeline_test = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=shorter_side, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
