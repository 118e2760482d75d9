# FCOS-R50 on COCO as PGD trains its student: torchvision's backbone, centre sampling, distances in
# strides, centerness beside the boxes; 4 images per GPU, lr 0.02.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        style='pytorch', init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    bbox_head=dict(
        norm_on_bbox=True, centerness_on_reg=True, center_sampling=True, conv_bias=True))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    optimizer=dict(lr=0.02),
    paramwise_cfg=None,
    clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
]
