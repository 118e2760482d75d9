# BEVDet on a ResNet-50 with BEVDepth's camera-aware depth network, and depth learnt from the LiDAR.
_base_ = ['bevdet_r50.py']
model = dict(
    img_view_transformer=dict(
        depth_net=dict(type='mmkd.DepthNet', mid_channels=256),
        depth_supervision=dict(weight=3.)))
