# PointDistiller (Zhang et al., CVPR 2023) for pillars, with a quarter of the teacher's parameters:
# local graphs of the pillars' features. For a sixteenth: channels=16.
distillations = dict(
    graph=dict(
        tap='voxels',
        loss=dict(
            type='mmkd.PointDistillerLoss', num_voxels=6000, kneighbours=128, channels=32,
            temperature=0.01),
        weight=1.))
