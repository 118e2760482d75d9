_base_ = ['_base_/detection_dynamic.py', '_base_/tensorrt_dynamic.py']
