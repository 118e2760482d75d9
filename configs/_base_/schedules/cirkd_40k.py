# CIRKD's schedule: 40k iterations, SGD lr 0.02, weight decay 1e-4, poly 0.9 down to 0,
# for a total batch of 16.
_base_ = 'mmseg::_base_/schedules/schedule_40k.py'
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-4))
param_scheduler = [
    dict(type='PolyLR', eta_min=0., power=0.9, begin=0, end=40000, by_epoch=False)
]
sync_bn = 'torch'  # the source's norms are synchronised, the project head's (ours: plain BN) too
