_base_ = 'instance-segmentation.py'
onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch', 2: 'height', 3: 'width'},
        dets={0: 'batch', 1: 'boxes'},
        labels={0: 'batch', 1: 'boxes'},
        masks={0: 'batch', 1: 'boxes'}))
