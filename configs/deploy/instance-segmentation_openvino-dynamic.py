_base_ = ['_base_/instance-segmentation_dynamic.py', '_base_/openvino.py']
