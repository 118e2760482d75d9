# PGD (Yang et al., ECCV 2022) with the weights of GFL and FCOS: the features after the first block
# of both towers, where the teacher predicts objects well. beta is alpha / 2, gamma 1.6 alpha.
distillations = dict(
    classes=dict(
        student_tap=dict(feature='bbox_head.cls_convs.0[:]'),
        teacher_tap=dict(feature='bbox_head.cls_convs.0[:]', cls='cls', reg='reg'),
        loss=dict(type='mmkd.PGDClsLoss', alpha=0.04, temp=0.8, topk=30),
        weight=1.),
    boxes=dict(
        student_tap=dict(feature='bbox_head.reg_convs.0[:]'),
        teacher_tap=dict(feature='bbox_head.reg_convs.0[:]', cls='cls', reg='reg'),
        loss=dict(type='mmkd.PGDRegLoss', gamma=0.064, temp=0.8, topk=30),
        weight=1.))
