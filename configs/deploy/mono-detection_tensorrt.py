_base_ = ['_base_/mono-detection.py', '_base_/tensorrt.py']
