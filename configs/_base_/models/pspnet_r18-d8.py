# PSPNet-R18, output stride 8, with the widths of mmseg's Cityscapes config.
_base_ = 'mmseg::_base_/models/pspnet_r50-d8.py'
model = dict(
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64))
