# Cityscapes as AttnFD reads it.
_base_ = ['mmseg::_base_/datasets/cityscapes.py', './attnfd_pipelines.py']
crop_size = {{_base_.crop}}
train_pipeline = {{_base_.pipeline_train}}
test_pipeline = {{_base_.pipeline_test}}
train_dataloader = dict(batch_size=6, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
