# DistillBEV (Wang et al., ICCV 2023) with the weights released for BEVFormer: no attention over
# channels.
distillations = dict(
    feature=dict(
        tap='bev',
        student_connector=dict(type='mmkd.ConvConnector'),
        loss=dict(
            type='mmkd.DistillBEVLoss',
            fg_feat_loss_weight=3e-3,
            bg_feat_loss_weight=4e-2,
            spatial_loss_weight=1e-3,
            channel_mask=False),
        weight=1.))
