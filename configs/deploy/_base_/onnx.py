# What every export has in common. Opset 16: below it RoIAlign and scatter_add are silently wrong.
onnx_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=16,
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['output'],
    input_shape=None,  # static: width and height; tools/deploy.py takes those of the data
    optimize=False)
