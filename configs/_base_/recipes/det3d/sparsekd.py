# SparseKD (Yang et al., NeurIPS 2022) with the weights of CP-Voxel-S: the logits of a CenterHead at
# pivotal positions. XS and XXS have hm_weight=15. The published students also start from their
# teacher: init_student=dict(keep='first') in the distiller.
distillations = dict(
    logits=dict(
        tap=dict(heatmap='heatmap', reg='reg'),
        loss=dict(type='mmkd.SparseKDLoss', hm_weight=10., reg_weight=0.2),
        weight=1.))
