_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py'

from mmkd.apis import join_recipes  # below _base_

model = dict(
    _delete_=True,
    type='mmkd.OfflineDistiller',
    student={{_base_.model}},
    distillations=join_recipes('pkd', feature=dict(weight=6.)),
    teacher=dict(
        config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
        'faster_rcnn_r101_fpn_2x_coco/'
        'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth'))
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
