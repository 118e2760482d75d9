# FRS with the weights of Faster R-CNN: the RPN's scores take the place of class scores.
_base_ = './frs.py'
distillations = dict(
    feature=dict(
        tap=dict(cls='rpn_cls'), loss=dict(feat_weight=0.002, cls_weight=0.1)))
