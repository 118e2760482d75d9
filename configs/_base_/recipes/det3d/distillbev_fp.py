# DistillBEV with the paper's third region, false positives, which no released config has. No
# weight of it is published; this is the background's.
distillations = dict(
    feature=dict(
        tap=dict(feature='bev', heatmap='heatmap'),
        student_connector=dict(feature=dict(type='mmkd.ConvConnector')),
        loss=dict(
            type='mmkd.DistillBEVLoss',
            fg_feat_loss_weight=1.5e-3,
            bg_feat_loss_weight=4e-2,
            channel_loss_weight=0.25,
            spatial_loss_weight=2.5e-3,
            fp_as_foreground='teacher+teacher_selected_student',
            fp_weight=4e-2),
        weight=1.))
