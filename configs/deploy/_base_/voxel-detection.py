_base_ = 'onnx.py'
# The names of the outputs are those of a head with one level; mmkd writes what the model has.
codebase_config = dict(
    type='mmdet3d', task='VoxelDetection', model_type='end2end', module=['mmkd.deploy'])
onnx_config = dict(
    input_names=['voxels', 'num_points', 'coors'],
    output_names=['cls_score0', 'bbox_pred0', 'dir_cls_pred0'],
    dynamic_axes=dict(voxels={0: 'voxels'}, num_points={0: 'voxels'}, coors={0: 'voxels'}))
