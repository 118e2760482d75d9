_base_ = ['_base_/segmentation.py', '_base_/tensorrt.py']
