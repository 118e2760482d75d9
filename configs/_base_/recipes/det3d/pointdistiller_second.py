# PointDistiller (Zhang et al., CVPR 2023) for SECOND and other detectors of voxels: local graphs of
# the stages of the BEV backbone.
distillations = dict(
    graph=dict(
        tap='bev_backbone',
        loss=dict(
            type='mmkd.PointDistillerMapLoss', num_voxels=256, kneighbours=128, channels=32,
            temperature=1e-4),
        weight=1.))
