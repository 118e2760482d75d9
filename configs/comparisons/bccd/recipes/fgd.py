_base_ = '../../../_base_/recipes/det/fgd.py'
