# AttnFD's VOC schedule in iterations: 120 epochs of 1464 pictures in batches of 6. SGD lr 0.007
# with Nesterov momentum, ten times that in the head and the connectors, poly 0.9 down to 0.
_base_ = 'mmseg::_base_/schedules/schedule_40k.py'
iterations = 120 * 244
optim_wrapper = dict(
    optimizer=dict(lr=0.007, nesterov=True),
    paramwise_cfg=dict(
        custom_keys=dict(decode_head=dict(lr_mult=10.), distiller=dict(lr_mult=10.))))
param_scheduler = [
    dict(type='PolyLR', eta_min=0., power=0.9, begin=0, end=iterations, by_epoch=False)
]
train_cfg = dict(max_iters=iterations, val_interval=2440)
default_hooks = dict(checkpoint=dict(interval=2440))
