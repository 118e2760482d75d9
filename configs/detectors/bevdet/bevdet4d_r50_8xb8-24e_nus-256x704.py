# BEVDet with the previous keyframe.
_base_ = ['bevdet_r50_8xb8-24e_nus-256x704.py']
model = dict(
    type='mmkd.BEVDet4D',
    img_bev_encoder_backbone=dict(in_channels=128),
    train_cfg=dict(pts=dict(code_weights=[1.0] * 10)))
train_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}),
    dict(type='mmkd.LoadPreviousFrame', cameras={{_base_.cameras}}),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='mmkd.MultiViewImageAug', size=(256, 704)),
    dict(type='mmkd.BEVAug'),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(type='mmkd.PackBEVInputs', keys=['img', 'gt_bboxes_3d', 'gt_labels_3d'])
]
test_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}),
    dict(type='mmkd.LoadPreviousFrame', cameras={{_base_.cameras}}),
    dict(type='mmkd.MultiViewImageAug', size=(256, 704), test_mode=True),
    dict(type='mmkd.PackBEVInputs', keys=['img'])
]
train_dataloader = dict(
    dataset=dict(dataset=dict(type='mmkd.NuScenesSequenceDataset', pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(type='mmkd.NuScenesSequenceDataset', pipeline=test_pipeline))
test_dataloader = val_dataloader
