# The same on UniDistill's schedule.
_base_ = ['bevdet-r50-6tasks_8xb8-24e_nus-256x704_points.py']
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-7))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=200),
    dict(type='MultiStepLR', begin=0, end=20, by_epoch=True, milestones=[10, 15], gamma=0.1)
]
train_cfg = dict(max_epochs=20, val_interval=20)
