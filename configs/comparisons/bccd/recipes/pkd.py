_base_ = '../../../_base_/recipes/det/pkd.py'
