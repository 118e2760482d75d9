"""FitNet as CIRKD has it: 1x1 convolution without bias, always applied, then mean squared error."""
from mmkd.models.connectors import ConvConnector
from mmkd.models.losses.feature import FitNetLoss
from tests.golden.case import Outcome


def run(case):
    case.arguments(s_channels=None, t_channels=None)
    student, teacher = case.input('student'), case.input('teacher')
    connector = ConvConnector(student.shape[1], teacher.shape[1], bias=False)
    case.load(connector, {'conv': 'conv'})
    with case.feed_draws():
        return Outcome({'loss': FitNetLoss()(connector(student), teacher)})
