_base_ = 'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py'

from mmkd.apis import join_recipes  # below _base_

model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations=join_recipes('pkd', feature=dict(weight=6.)),
    teacher=dict(
        config='mmdet::swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/swin/'
        'mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco/'
        'mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco_20210903_104808-b92c91f1.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
