_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../../_base_/recipes/det/crosskd.py'
]
model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations={{_base_.distillations}},
    teacher=dict(
        config='mmdet::swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py',
        checkpoint='work_dirs/retinanet_swin-t-p4-w7_fpn_1x_coco/epoch_12.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
