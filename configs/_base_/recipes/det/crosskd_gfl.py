# CrossKD for GFL, whose boxes are distributions: factor 4.
_base_ = './crosskd.py'
distillations = dict(predictions=dict(loss=dict(reg_weight=4.)))
