# PGD with the weights of ATSS.
_base_ = './pgd.py'
distillations = dict(
    classes=dict(loss=dict(alpha=0.08, topk=9)), boxes=dict(loss=dict(gamma=0.128, topk=9)))
