# AttnFD at its published weights. It reads the last stage before its ReLU; this teacher's last
# block ends in a linear convolution, so its output is that map.
_base_ = '../../../_base_/recipes/seg/attnfd.py'
distillations = dict(stage4=dict(teacher_tap='backbone'))
