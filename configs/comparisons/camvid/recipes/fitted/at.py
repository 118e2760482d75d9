# AT at the weight that did best on the validation split: see the README.
_base_ = '../at_150.py'
