_base_ = ['_base_/bev-detection.py', '_base_/openvino.py']
