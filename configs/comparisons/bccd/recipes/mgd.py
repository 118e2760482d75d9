_base_ = '../../../_base_/recipes/det/mgd.py'
