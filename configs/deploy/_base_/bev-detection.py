_base_ = 'onnx.py'
codebase_config = dict(type='mmdet3d', task='BEVDetection', module=['mmkd.deploy'])
# mmkd writes the names that the model has: a third input with mmkd.DepthNet, no vel without it.
onnx_config = dict(
    input_names=['imgs', 'img2lidar'],
    output_names=['heatmap', 'reg', 'height', 'dim', 'rot', 'vel'])
