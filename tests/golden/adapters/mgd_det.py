"""MGD on detectors: one pyramid level, the mask by pixels from a recorded uniform draw."""
from mmkd.models.connectors import MGDConnector
from mmkd.models.losses.feature import MGDLoss
from tests.golden.case import Outcome


def run(case):
    args = case.arguments(student_channels=None, teacher_channels=None, name=None,
                          alpha_mgd=2e-5, lambda_mgd=0.65)
    student, teacher = case.input('student'), case.input('teacher')
    connector = MGDConnector(student.shape[1], teacher.shape[1], args['lambda_mgd'])
    names = {'generation.0': 'generation.0', 'generation.2': 'generation.2'}
    if student.shape[1] != teacher.shape[1]:
        names['align'] = 'align'
    case.load(connector, names)
    if 'rand' in case.inputs:
        case.draw('rand', 'rand')
    with case.feed_draws():
        generated = connector(student)
    unweighted = MGDLoss(alpha_mgd=1.)(generated, teacher)
    return Outcome({'loss': MGDLoss(args['alpha_mgd'])(generated, teacher)},
                   {'loss_unweighted': unweighted})
