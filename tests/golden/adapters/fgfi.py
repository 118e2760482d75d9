"""FGFI of the original: one map of stride 16, whole-pixel boxes, and a ReLU behind the 3x3
convolution. Without an object the official loss is 0 / 0, ours zero."""
from types import SimpleNamespace

from mmkd.models.connectors import ConvConnector
from mmkd.models.losses.feature import FGFILoss
from tests.golden.case import Outcome


def run(case):
    args = case.arguments(imitation_loss_weight=0.01, phi=0.5, stride=16)
    student, teacher = case.input('student'), case.input('teacher')
    connector = case.load(ConvConnector(student.shape[1], teacher.shape[1], 3, act=True),
                          {'conv': 'adap'})
    anchors = case.input('anchors').detach()
    head = SimpleNamespace(strides=[args['stride']], anchors=lambda sizes: [anchors])
    boxes = [until_padding(rows) for rows in case.input('gt_boxes').detach()]
    criterion = FGFILoss(args['phi'], plus_one=True)
    strides = [args['stride']]
    loss = args['imitation_loss_weight'] * criterion(
        connector(student), teacher, boxes, None, head, strides)
    mask, = criterion.masks([teacher.shape[2:]], boxes, strides, head)
    return Outcome({'loss': loss}, {'mask': mask}, zero=['loss'])


def until_padding(rows):
    """Boxes (n, 4) of rows (m, 5) that end where the first one is all zeros, as the official loop
    does."""
    padding = (rows.sum(1) == 0).nonzero()
    return rows[:int(padding[0]) if len(padding) else len(rows), :4]
