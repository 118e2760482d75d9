_base_ = ['_base_/voxel-detection.py', '_base_/openvino.py']
