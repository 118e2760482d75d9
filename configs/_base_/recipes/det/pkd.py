# PKD (Cao et al., NeurIPS 2022) on the student's first four levels of the neck, as far as the
# teacher has levels of the same stride: weight 10 (the source's Faster R-CNN and Swin runs have 6).
distillations = dict(
    feature=dict(
        student_tap='neck[:4]',
        teacher_tap='neck',
        levels='common',
        loss=dict(type='mmkd.PKDLoss'),
        weight=10.))
