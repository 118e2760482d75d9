# The detection demo's teacher: GFL on a ResNet-34 of half width, trained longer.
_base_ = ['../../_base_/models/gfl_r34_fpn-64.py', 'base.py']
model = dict(bbox_head=dict(num_classes=3, anchor_generator=dict(octave_base_scale=4)))
max_iters = 1000
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0., by_epoch=False, begin=50, end=max_iters)
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
