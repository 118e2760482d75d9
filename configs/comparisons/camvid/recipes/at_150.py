# AT with the weight of its feature term measured on this data: see the README.
_base_ = '../../../_base_/recipes/seg/at.py'
distillations = dict(feature=dict(weight=150.))
