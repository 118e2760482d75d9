# SparseKD (Yang et al., NeurIPS 2022) with the weights of CP-Pillar, whose students have coarser
# pillars: the heatmap of a CenterHead at pivotal positions, and no regression. The published
# student of the nearest width starts from its teacher: init_student=dict(keep='bn_scale').
distillations = dict(
    logits=dict(
        tap=dict(heatmap='heatmap'),
        loss=dict(type='mmkd.SparseKDLoss', hm_weight=7., reg_weight=0.),
        weight=1.))
