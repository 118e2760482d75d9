# CIRKD (Yang et al., CVPR 2022): KD 1 (T 1), mini-batch 1, memory pixel and region 0.1 each
# (for Pascal VOC the paper uses memory weight 0.01; its configs set it).
distillations = dict(
    logits=dict(tap='logits', loss=dict(type='mmkd.KDLoss', tau=1.), weight=1.),
    minibatch=dict(tap='head', loss=dict(type='mmkd.CIRKDMiniBatchLoss', tau=0.1), weight=1.),
    memory=dict(
        tap='head',
        student_connector=dict(type='mmkd.ProjectionConnector'),
        loss=dict(
            type='mmkd.CIRKDMemoryLoss',
            pixel_memory_size=20000,
            region_memory_size=2000,
            pixel_contrast_size=4096,
            region_contrast_size=1024,
            contrast_temperature=0.1,
            contrast_kd_temperature=1.),
        weight=0.1))
