# DistillBEV (Wang et al., ICCV 2023) with the weights released for BEVDepth: the map seen from
# above that the head reads, inside and outside of boxes.
distillations = dict(
    feature=dict(
        tap='bev',
        student_connector=dict(type='mmkd.ConvConnector'),
        loss=dict(
            type='mmkd.DistillBEVLoss',
            fg_feat_loss_weight=1.5e-3,
            bg_feat_loss_weight=4e-2,
            channel_loss_weight=0.25,
            spatial_loss_weight=2.5e-3),
        weight=1.))
