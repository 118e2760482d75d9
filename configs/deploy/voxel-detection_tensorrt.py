_base_ = '_base_/voxel-detection.py'
# Shapes that are None are the model's: mmkd writes them. Not run on this project's machines.
backend_config = dict(
    type='tensorrt',
    common_config=dict(fp16_mode=False, max_workspace_size=1 << 30),
    model_inputs=[dict(input_shapes=dict(
        voxels=dict(min_shape=None, opt_shape=None, max_shape=None),
        num_points=dict(min_shape=None, opt_shape=None, max_shape=None),
        coors=dict(min_shape=None, opt_shape=None, max_shape=None)))])
