# Faster R-CNN R101 on Pascal VOC, as DeFeat's code trains its teacher (82.27 mAP there).
_base_ = '../students/faster-rcnn-r50_2xb8-1x_voc0712_defeat.py'
model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')))
optim_wrapper = dict(optimizer=dict(lr=0.02))
