# The demo's teacher: the same network, six times as wide, trained longer.
_base_ = 'student.py'
model = dict(
    backbone=dict(base_channels=48, stem_channels=48),
    neck=dict(in_channels=[48, 96, 192, 384], out_channels=64),
    decode_head=dict(in_channels=[64, 64, 64, 64], channels=64))
max_iters = 1000
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', eta_min=0., power=0.9, begin=20, end=max_iters, by_epoch=False)
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
