"""CWD in the forms of its four sources.

* TorchDistiller: ``norm_type``, ``divergence``, ``temperature`` (mse ignores the temperature).
* CIRKD: the same, with ``s_channels`` and ``t_channels``; a 1x1 convolution without bias that is
  used only where channels differ; divided by the channels before it.
* mmrazor: ``tau``, ``loss_weight``.
* pppppM: ``tau``, ``weight``, ``student_channels``, ``teacher_channels``; the cross-entropy form;
  a 1x1 convolution with bias where channels differ; divided by the channels before it.
"""
from mmkd.models.connectors import ConvConnector
from mmkd.models.losses.feature import CWDLoss
from tests.golden.case import Outcome


def run(case):
    student, teacher = case.input('student'), case.input('teacher')
    if 'tau' in case.args or any(part in case.source for part in ('mmrazor', 'pppppM')):
        return Outcome({'loss': tau_form(case, student, teacher)})
    return Outcome({'loss': temperature_form(case, student, teacher)})


def tau_form(case, student, teacher):
    """mmrazor's and pppppM's, which differ in the divergence."""
    args = case.arguments(tau=1., loss_weight=1., weight=1., student_channels=None,
                          teacher_channels=None, name=None)
    ported = 'pppppM' in case.source or bool({'weight', 'student_channels'} & set(case.args))
    divergence = 'cross_entropy' if ported else 'kl'
    criterion = CWDLoss(tau=args['tau'], divergence=divergence, divisor_channels=student.shape[1])
    student = align(case, student, teacher, 'align', bias=True)
    with case.feed_draws():
        return args['loss_weight'] * args['weight'] * criterion(student, teacher)


def temperature_form(case, student, teacher):
    """TorchDistiller's and CIRKD's, which differ in the convolution."""
    args = case.arguments(norm_type='none', divergence='mse', temperature=1., s_channels=None,
                          t_channels=None)
    norm, batch = args['norm_type'], student.shape[0]
    per_channel = norm in ('channel', 'channel_mean')
    criterion = CWDLoss(tau=args['temperature'], norm=norm, divergence=args['divergence'],
                        divisor_channels=student.shape[1] if per_channel else None)
    student = align(case, student, teacher, 'conv', bias=False)
    with case.feed_draws():
        if norm == 'none':  # the official class reads the first sample only, and divides by all
            return criterion(student[:1], teacher[:1]) / batch
        return criterion(student, teacher)


def align(case, student, teacher, name, bias):
    """The student in the teacher's channels, by the recorded convolution."""
    connector = ConvConnector(student.shape[1], teacher.shape[1], bias=bias, when='unequal')
    case.load(connector, {'conv': name})
    case.unused(rf'(^|\.){name}\.(weight|bias)$')
    return connector(student)
