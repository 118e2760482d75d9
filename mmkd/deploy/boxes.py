"""Boxes of two models beside each other: which ones are the same, and how much they differ."""
import math
from typing import NamedTuple

import torch
from mmdet.structures.bbox import bbox_overlaps

from .tasks import Check

#: boxes of PyTorch's model that have to be found, by their score
LEAST_SCORE = .05
#: scores of two boxes that may be the same one
SCORES = 1e-2


class Boxes(NamedTuple):
    """Boxes of a sample: ``boxes`` (K, 4 or more), ``scores`` (K,), ``labels`` (K,)."""
    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of_2d(cls, instances):
        """Of mmdet's ``pred_instances``."""
        return cls(instances.bboxes, instances.scores, instances.labels)

    @classmethod
    def of_3d(cls, instances):
        """Of mmdet3d's ``pred_instances_3d``."""
        return cls(instances.bboxes_3d.tensor, instances.scores_3d, instances.labels_3d)


def distances_2d(first, second):
    """(K, L) 1 - IoU."""
    return 1 - bbox_overlaps(first, second)


def distances_3d(first, second):
    """(K, L) largest difference of a number of the boxes.

    Metres, radians modulo a turn, m/s; of numbers above 1, in relation to them.
    """
    difference = (first[:, None] - second[None]).abs()
    turn = difference[..., 6]
    difference[..., 6] = torch.minimum(turn, (turn - 2 * math.pi).abs())
    return (difference / first[:, None].abs().clamp(min=1)).amax(-1)


def pair(wanted, got, distances, limit):
    """[(place in wanted, place in got)] of boxes of one class, similar in score and place."""
    if not len(wanted.boxes) or not len(got.boxes):
        return []
    cost = distances(wanted.boxes.double(), got.boxes.double())
    scores = (wanted.scores[:, None] - got.scores[None]).abs()
    cost = torch.where((wanted.labels[:, None] == got.labels[None]) & (scores <= SCORES)
                       & (cost <= limit), cost + scores, torch.inf)
    pairs = []
    for i in wanted.scores.argsort(descending=True).tolist():
        j = int(cost[i].argmin())
        if cost[i, j] < torch.inf:
            pairs.append((i, j))
            cost[:, j] = torch.inf
    return pairs


def compare(wanted, got, distances, limit):
    """Numbers for :func:`checks`, of one sample.

    Args:
        wanted, got (Boxes): PyTorch's, the exported model's.
        distances (callable): :func:`distances_2d` or :func:`distances_3d`.
        limit (float): Largest distance of boxes that are the same.

    Returns:
        dict: ``boxes``, how many of both above :data:`LEAST_SCORE`; ``matched``, how many of them
        have their like; ``score`` and ``distance``, the largest difference of those; ``pairs``.
    """
    pairs = pair(wanted, got, distances, limit)
    found = [set(part) for part in zip(*pairs, strict=True)] or [set(), set()]
    count = matched = 0
    for side, there in zip((wanted, got), found, strict=True):
        above = (side.scores > LEAST_SCORE).nonzero()[:, 0].tolist()
        count, matched = count + len(above), matched + len(there.intersection(above))
    first, second = (torch.tensor(part, dtype=torch.long)
                     for part in (zip(*pairs, strict=True) if pairs else ((), ())))
    score = distance = 0.
    if pairs:
        score = float((wanted.scores[first] - got.scores[second]).abs().max())
        distance = float(distances(wanted.boxes[first].double(),
                                   got.boxes[second].double()).diagonal().max())
    return dict(boxes=count, matched=matched, score=score, distance=distance, pairs=pairs)


def checks(results, name, limit):
    """The checks of :func:`compare`'s results: all matched, scores within 1e-4.

    One in a thousand may be missing: where the overlap of two boxes is the threshold of NMS up to
    rounding, it may fall either way.

    Args:
        results (list of dict): One for each sample.
        name (str): What the distance is called.
        limit (float): Its limit.
    """
    boxes = sum(one['boxes'] for one in results)
    share = sum(one['matched'] for one in results) / boxes if boxes else 1.
    return [Check(f'boxes above score {LEAST_SCORE:g} matched', share, .999, at_least=True),
            Check('largest difference of scores', max(one['score'] for one in results), 1e-4),
            Check(name, max(one['distance'] for one in results), limit)]
