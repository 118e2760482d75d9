# FitNet with the weight of its feature term measured on this data: see the README.
_base_ = '../../../_base_/recipes/seg/fitnet.py'
distillations = dict(feature=dict(weight=0.6))
