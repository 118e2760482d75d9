"""MGD: segmentation and detection mask pixels, classification masks channels.

The three official classes take the same arguments, so what tells them apart is the shape of the
recorded draw, and the folder of the source where a case has none.
"""
from mmkd.models.connectors import MGDConnector
from mmkd.models.losses.feature import MGDLoss
from tests.golden.case import Outcome

DEFAULTS = {'pixel': {'alpha_mgd': 2e-5, 'lambda_mgd': 0.75},
            'channel': {'alpha_mgd': 7e-5, 'lambda_mgd': 0.15}}


def run(case):
    student, teacher = case.input('student'), case.input('teacher')
    mask = mask_kind(case, teacher)
    args = case.arguments(student_channels=None, teacher_channels=None, name=None,
                          **DEFAULTS[mask])
    connector = MGDConnector(student.shape[1], teacher.shape[1], args['lambda_mgd'], mask)
    names = {'generation.0': 'generation.0', 'generation.2': 'generation.2'}
    if student.shape[1] != teacher.shape[1]:
        names['align'] = 'align'
    case.load(connector, names)
    with case.feed_draws():
        loss = MGDLoss(args['alpha_mgd'])(connector(student), teacher)
    return Outcome({'loss': loss})


def mask_kind(case, teacher):
    n, c, h, w = teacher.shape
    shapes = [tuple(draw.shape) for _, draw in case.draws]
    if (n, c, 1, 1) != (n, 1, h, w) and shapes:
        return 'channel' if shapes[0] == (n, c, 1, 1) else 'pixel'
    return 'channel' if ':cls/' in case.source else 'pixel'
