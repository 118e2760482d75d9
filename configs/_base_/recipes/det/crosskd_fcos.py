# CrossKD for FCOS: after the second convolution, class scores 0.4 and boxes 0.75.
_base_ = './crosskd.py'
distillations = dict(
    predictions=dict(
        student_tap=dict(cls='cls_tower.2', reg='reg_tower.2'),
        teacher_tap=dict(cls_tower='cls_tower.2', reg_tower='reg_tower.2'),
        student_connector=dict(after=2),
        loss=dict(cls_weight=0.4, reg_weight=0.75)))
