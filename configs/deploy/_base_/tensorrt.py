# Sizes that are None are those of the data: tools/deploy.py writes them. Not run on this project's
# machines: see docs/deploy.md.
backend_config = dict(
    type='tensorrt',
    common_config=dict(fp16_mode=False, max_workspace_size=1 << 30),
    model_inputs=[dict(input_shapes=dict(
        input=dict(min_shape=None, opt_shape=None, max_shape=None)))])
