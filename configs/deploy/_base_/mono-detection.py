_base_ = 'onnx.py'
# mmkd writes the names of the outputs: one for each branch and level of the head.
codebase_config = dict(
    type='mmdet3d', task='MonoDetection', model_type='end2end', module=['mmkd.deploy'])
onnx_config = dict(output_names=['cls_score0', 'bbox_pred0'])
