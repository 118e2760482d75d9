# CIRKD on Pascal VOC: as on Cityscapes, with memory weight 0.01 instead of 0.1.
_base_ = './cirkd.py'
distillations = dict(memory=dict(weight=0.01))
