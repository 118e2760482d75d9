# The teacher of gfl_r18_fpn-64.py: a ResNet-34 of half the usual width, the same neck and head.
_base_ = 'gfl_r18_fpn-64.py'
model = dict(
    backbone=dict(depth=34, base_channels=32, stem_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256]))
