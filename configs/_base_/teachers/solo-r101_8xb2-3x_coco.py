# SOLO-R101 on COCO: mmdet's SOLO-R50 of 3x with a larger backbone.
_base_ = 'mmdet::solo/solo_r50_fpn_3x_coco.py'
model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')))
