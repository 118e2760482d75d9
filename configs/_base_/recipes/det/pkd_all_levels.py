# PKD on all levels of the student's neck, as CrossKD's authors join it with their method.
_base_ = './pkd.py'
distillations = dict(feature=dict(student_tap='neck'))
