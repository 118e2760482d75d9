"""Bringing the student's decoder queries into the order of the teacher's.

Queries of two DETRs have no common order: query i of one may look for people on the left, query i
of the other for cars. DETRDistill (ICCV 2023) and KD-DETR match them by what they predict.
"""
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from mmkd.registry import MODELS


@MODELS.register_module()
class MatchQueriesConnector(nn.Module):
    """The student's queries, in the order of the teacher's that they are matched with.

    In each image every query of the teacher gets another query of the student, so that the sum of
    the differences of their class probabilities (mean over the classes) and boxes (L1) is the least
    (the Hungarian method). A term that uses it::

        tap=dict(cls='query_cls', boxes='query_boxes', states='decoder'),
        student_connector=dict(type='mmkd.MatchQueriesConnector')

    All taps are put into the new order, with gradient; the choice has none.

    Args:
        cls_cost: weight of the difference of the class probabilities.
        box_cost: weight of the L1 distance of the boxes.
        use_sigmoid: whether the scores are of a sigmoid for each class; False: of a softmax.
    """

    pyramid = True

    def __init__(self, cls_cost=1., box_cost=5., use_sigmoid=True):
        super().__init__()
        self.cls_cost, self.box_cost, self.use_sigmoid = cls_cost, box_cost, use_sigmoid

    def forward(self, x, teacher):
        """Return the student's taps with Qt queries each.

        Args:
            x (dict): The student's maps of queries (N, C, Qs, 1), ``cls`` and ``boxes`` among them.
            teacher (dict): ``cls`` (N, K, Qt, 1) and ``boxes`` (N, 4, Qt, 1) of the teacher.

        Raises:
            ValueError: if a tap is missing, or the student has fewer queries than the teacher.
        """
        for side, value in dict(student=x, teacher=teacher).items():
            lacks = [key for key in ('cls', 'boxes')
                     if not isinstance(value, dict) or key not in value]
            if lacks:
                raise ValueError(f'MatchQueriesConnector: the {side} has no tap {lacks[0]!r}; it '
                                 "takes tap=dict(cls='query_cls', boxes='query_boxes', ...)")
        counts = x['cls'].shape[2], teacher['cls'].shape[2]
        if counts[0] < counts[1]:
            raise ValueError(f'MatchQueriesConnector: the student has {counts[0]} queries and the '
                             f'teacher {counts[1]}; give the student as many (num_queries)')
        order = self.match(x, teacher)
        return {name: torch.stack([image[:, chosen] for image, chosen in
                                   zip(value, order, strict=True)]) for name, value in x.items()}

    @torch.no_grad()
    def match(self, x, teacher):
        """For each image, the student's query (Qt,) for each query of the teacher."""
        def rows(value, squash=False):
            value = value.squeeze(-1).transpose(1, 2).float()
            if not squash:
                return value
            return value.sigmoid() if self.use_sigmoid else value.softmax(-1)

        classes = x['cls'].shape[1]
        cost = self.cls_cost / classes * torch.cdist(
            rows(teacher['cls'], True), rows(x['cls'], True), p=1)
        cost = cost + self.box_cost * torch.cdist(rows(teacher['boxes']), rows(x['boxes']), p=1)
        cost = cost.nan_to_num(posinf=1e6, nan=1e6).cpu().numpy()
        return [torch.as_tensor(linear_sum_assignment(image)[1], device=x['cls'].device)
                for image in cost]

    def extra_repr(self):
        return f'cls_cost={self.cls_cost}, box_cost={self.box_cost}, use_sigmoid={self.use_sigmoid}'
