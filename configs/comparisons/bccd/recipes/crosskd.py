# CrossKD (Wang et al., CVPR 2024) for GFL, whose boxes are distributions: the student's towers
# after their third convolution, through the rest of the teacher's head.
distillations = dict(
    predictions=dict(
        student_tap=dict(cls='cls_tower.3', reg='reg_tower.3'),
        teacher_tap=dict(
            cls='cls', reg='reg', cls_tower='cls_tower.3', reg_tower='reg_tower.3'),
        student_connector=dict(type='mmkd.CrossHeadConnector', after=3),
        loss=dict(type='mmkd.CrossKDLoss', cls_weight=1., reg_weight=4.),
        weight=1.))
