# DeepLabV3+-R18 as AttnFD trains it: output stride 16, ASPP rates 6, 12, 18, widths 256 and 48.
# (Its decoder has full 3x3 convolutions, mmseg's has depthwise separable ones.)
_base_ = 'mmseg::_base_/models/deeplabv3plus_r50-d8.py'
model = dict(
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(depth=18, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    decode_head=dict(
        in_channels=512,
        channels=256,
        c1_in_channels=64,
        c1_channels=48,
        dilations=(1, 6, 12, 18)),
    auxiliary_head=None)
