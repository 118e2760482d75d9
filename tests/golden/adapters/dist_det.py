"""DIST of the detection code: one pair of maps or rows, or the levels ``student_0``, ... of a
pyramid, each with a loss of its own, which are added up."""
from mmkd.models.losses.logit import DISTLoss
from tests.golden.case import Outcome
from tests.golden.detection import per_level, pyramid


def run(case):
    args = case.arguments(beta=1., gamma=1., use_sigmoid=False, loss_weight=1., name=None)
    criterion = DISTLoss(args['beta'], args['gamma'], args['use_sigmoid'])
    single = 'student' in case.inputs
    levels = [[case.input(side)] if single else pyramid(case, side)
              for side in ('student', 'teacher')]
    parts = [criterion.relations(*official_rows(student, teacher))
             for student, teacher in zip(*levels, strict=True)]
    losses = [args['loss_weight'] * (args['beta'] * inter + args['gamma'] * intra)
              for inter, intra in parts]
    total = sum(losses)
    outputs = {'inter': sum(part[0] for part in parts), 'intra': sum(part[1] for part in parts)}
    named = {'loss': total, 'total': total, **({} if single else per_level('loss', losses))}
    return Outcome(named, outputs)


def official_rows(student, teacher):
    """Maps of one channel as rows: the official softmax over it is the constant 1, where DISTLoss
    takes a map of one channel for the logit of two classes."""
    if student.dim() == 4 and student.shape[1] == 1:
        return student.reshape(-1, 1), teacher.reshape(-1, 1)
    return student, teacher
