_base_ = 'onnx.py'
codebase_config = dict(
    type='mmseg', task='Segmentation', with_argmax=True, module=['mmkd.deploy'])
