# AttnFD's Cityscapes schedule in iterations: 200 epochs of 2975 pictures in batches of 6, lr 0.01
# (defaults of its code, no command is published), the rest as for VOC.
_base_ = './attnfd_120e_voc12.py'
iterations = 200 * 496
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [
    dict(type='PolyLR', eta_min=0., power=0.9, begin=0, end=iterations, by_epoch=False)
]
train_cfg = dict(max_iters=iterations, val_interval=4960)
default_hooks = dict(checkpoint=dict(interval=4960))
