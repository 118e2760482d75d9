_base_ = '../../../_base_/recipes/det/crosskd_gfl.py'
