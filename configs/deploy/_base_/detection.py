_base_ = 'onnx.py'
# What mmkd's graphs take from the model's test_cfg stands there; these are for TensorRT's operator.
codebase_config = dict(
    type='mmdet',
    task='ObjectDetection',
    model_type='end2end',
    module=['mmkd.deploy'],
    post_processing=dict(
        score_threshold=0.05,
        confidence_threshold=0.005,
        iou_threshold=0.5,
        max_output_boxes_per_class=200,
        pre_top_k=5000,
        keep_top_k=100,
        background_label_id=-1))
onnx_config = dict(output_names=['dets', 'labels'])
