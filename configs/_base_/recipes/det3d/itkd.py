# itKD (Cho et al., CVPR 2023): a shared auto-encoder between the maps that the heads read, and an
# attention among what a CenterHead predicts at the objects. The source weighs this and the
# detector's own losses by 0.5 each.
distillations = dict(
    itkd=dict(
        tap=dict(bev='bev', heatmap='heatmap', reg='reg'),
        loss=dict(type='mmkd.ITKDLoss', code_channels=32),
        weight=1.))
