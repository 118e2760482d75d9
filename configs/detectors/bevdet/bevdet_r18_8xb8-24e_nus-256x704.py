_base_ = ['bevdet_r50_8xb8-24e_nus-256x704.py']
model = dict(
    img_backbone=dict(
        depth=18, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    img_neck=dict(in_channels=[256, 512]))
