_base_ = 'detection.py'
# Masks are 28 x 28 for each box; what runs the graph pastes them into the image.
codebase_config = dict(post_processing=dict(export_postprocess_mask=False))
onnx_config = dict(output_names=['dets', 'labels', 'masks'])
