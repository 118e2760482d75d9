# LD on the distributions of positives alone, as mmdet has it.
_base_ = './ld.py'
distillations = dict(predictions=dict(loss=dict(vlr_weight=0., cls_weight=0.)))
