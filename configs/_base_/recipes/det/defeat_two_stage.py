# DeFeat with its part on the class scores of RoIs (2 for those of objects, 2 for the others), which
# the paper has and the released config leaves off.
_base_ = './defeat.py'
distillations = dict(
    classes=dict(
        tap='roi_cls',
        loss=dict(type='mmkd.DeFeatRoILoss', fg_weight=2., bg_weight=2.),
        weight=1.))
