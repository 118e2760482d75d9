# AttnFD (Mansourian et al. 2024): CBAM-refined features at three depths, lambda 2.
# The official teacher has trained CBAM weights, which no zoo teacher has: here its CBAM is
# the official code's parameter-free one.
_student_connector = dict(type='mmkd.CBAMConnector')
_teacher_connector = dict(type='mmkd.CBAMConnector', learnable=False, project=False)
# No term is named like a student's module: optimizer settings match names by substring.
distillations = dict(
    stage4=dict(
        tap='backbone_pre_relu',
        student_connector=_student_connector,
        teacher_connector=_teacher_connector,
        loss=dict(type='mmkd.AttnFDLoss'),
        weight=2.),
    context=dict(
        tap='context',
        student_connector=_student_connector,
        teacher_connector=_teacher_connector,
        loss=dict(type='mmkd.AttnFDLoss'),
        weight=2.),
    decoder=dict(
        tap='head',
        student_connector=_student_connector,
        teacher_connector=_teacher_connector,
        loss=dict(type='mmkd.AttnFDLoss'),
        weight=2.))
