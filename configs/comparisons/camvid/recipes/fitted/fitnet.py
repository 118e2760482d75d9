# FitNet at the weight that did best on the validation split: see the README.
_base_ = '../fitnet_0p6.py'
