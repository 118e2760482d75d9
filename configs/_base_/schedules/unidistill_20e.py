# UniDistill's: AdamW, steps after 10 and 15 of 20 epochs. The learning rate is that of a camera
# detector.
_base_ = ['bevdet_24e.py']
optim_wrapper = dict(optimizer=dict(weight_decay=1e-7))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=200),
    dict(type='MultiStepLR', begin=0, end=20, by_epoch=True, milestones=[10, 15], gamma=0.1)
]
train_cfg = dict(max_epochs=20, val_interval=20)
