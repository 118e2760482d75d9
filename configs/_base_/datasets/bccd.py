# BCCD: 205 blood smear photographs of 640x480 for training, 87 for validation, 72 for testing; red
# cells, white cells and platelets in boxes. It is public (github.com/Shenggan/BCCD_Dataset, MIT
# licence): bring the repository's folder to data/bccd, so that there are
# data/bccd/BCCD/{Annotations,ImageSets/Main,JPEGImages}. Pictures are read at 256x192.
dataset_type = 'XMLDataset'
data_root = 'data/bccd/'
metainfo = dict(
    classes=('RBC', 'WBC', 'Platelets'), palette=[(200, 30, 30), (60, 60, 200), (30, 150, 60)])
data_prefix = dict(sub_data_root='BCCD/')
scale = (256, 192)
# A smear has no up and no left.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25],
         direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs')
]
# COCO's metric reads the boxes of the data set (`instances`): there is no COCO file.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'))
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='BCCD/ImageSets/Main/train.txt',
        data_prefix=data_prefix,
        # Two boxes of the set have no size.
        filter_cfg=dict(filter_empty_gt=False, bbox_min_size=1),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='BCCD/ImageSets/Main/val.txt',
        data_prefix=data_prefix,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='BCCD/ImageSets/Main/test.txt',
        data_prefix=data_prefix,
        test_mode=True,
        pipeline=test_pipeline))
val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
