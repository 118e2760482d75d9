_base_ = ['_base_/instance-segmentation.py', '_base_/openvino.py']
