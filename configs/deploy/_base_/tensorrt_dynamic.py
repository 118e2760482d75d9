_base_ = 'tensorrt.py'
# batch, channels, height, width: from the smallest to the largest input of the engine
backend_config = dict(
    model_inputs=[dict(input_shapes=dict(
        input=dict(min_shape=[1, 3, 64, 64], opt_shape=None, max_shape=[1, 3, 2048, 2048])))])
