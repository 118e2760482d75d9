"""PointDistiller (Zhang et al., "PointDistiller: Structured Knowledge Distillation Towards
Efficient and Compact 3D Detection", CVPR 2023).

Local graphs: the nearest neighbours of a voxel, or of a cell, in the teacher's feature space, and
what a small layer on either side makes of each edge. Formula and defaults are those of the
official code (RunpeiDong/PointDistiller): of PointPillars the features of the pillars, of SECOND
two stages of the BEV backbone. (The official forward has SECOND's term commented out. Its
PointRCNN, of points, is not here.)
"""
import torch
from mmengine.model import constant_init, kaiming_init
from torch import nn

from mmkd.ops import knn
from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision, matmul
from ..maps import check_maps, empty_loss, prepare


class _LocalGraphs(nn.Module):
    """What both forms share: the two layers, and how their outputs are compared."""

    def __init__(self, student_channels, teacher_channels, num_voxels, kneighbours, channels,
                 reweight, temperature):
        super().__init__()
        name = type(self).__name__
        if not student_channels or not teacher_channels:
            raise ValueError(f'{name}: student_channels={student_channels!r}, teacher_channels='
                             f'{teacher_channels!r}, expected numbers of channels. A distiller '
                             'finds them by a dry run; set them where the loss is built alone')
        if num_voxels < 1 or kneighbours < 1 or not temperature > 0:
            raise ValueError(f'{name}: num_voxels={num_voxels}, kneighbours={kneighbours}, '
                             f'temperature={temperature}: all must be greater than 0')
        self.num_voxels, self.kneighbours = num_voxels, kneighbours
        self.reweight, self.temperature = reweight, temperature
        self.student_graph = EdgeLayer(student_channels, channels)
        self.teacher_graph = EdgeLayer(teacher_channels, channels)

    def choose(self, scores):
        """The places (B, Q) of the highest ``scores`` (B, N), the first of equal ones."""
        return scores.sort(dim=1, descending=True, stable=True).indices[:, :self.num_voxels]

    @torch.no_grad()
    def neighbours(self, teacher, query):
        """The nearest of ``teacher`` (B, N, C) to those at ``query`` (B, Q): (B, Q, k)."""
        return knn(rows_at(teacher, query), teacher, min(self.kneighbours, teacher.shape[1]))[0]

    def compare(self, student, teacher, query, neighbours, weights):
        """The loss of the graphs of rows.

        Args:
            student: (B, N, Cs).
            teacher: (B, N, Ct).
            query: (B, Q) the centers.
            neighbours: (B, Q, k) of each.
            weights: of the centers, (B, Q); None: the plain norm of all differences.
        """
        with full_precision(student):
            difference = (self.student_graph(student, query, neighbours)
                          - self.teacher_graph(teacher, query, neighbours))
            if weights is None:
                return 5e-4 * torch.linalg.vector_norm(difference)
            return 2 * (difference.square() * weights.to(difference)[:, None, :, None]).mean()

    def extra_repr(self):
        return (f'num_voxels={self.num_voxels}, kneighbours={self.kneighbours}, '
                f'reweight={self.reweight}, temperature={self.temperature}')


@MODELS.register_module()
class PointDistillerLoss(_LocalGraphs):
    """Local graphs of the features of pillars or voxels, before they are put onto a map.

    Centers are the Q voxels with the most points; the nearest k voxels of each, itself among them,
    in the teacher's feature space, are its neighbours on both sides. Samples of a batch are mixed.
    An edge is the features of neighbour and center; a 1x1 convolution, BatchNorm and a ReLU, of
    either side and both trained, make ``channels`` numbers of it. The loss is twice the mean of
    (S - T)^2, with Q softmax(points / temperature) as the weights of the centers.

    With whole numbers of points and the released temperature the softmax is all but one-hot: the
    fullest voxels alone count.

    Args:
        student_channels, teacher_channels: Found by the dry run.
        num_voxels: Q; with fewer voxels all are centers (the official code fails).
        kneighbours: k; with fewer voxels all are neighbours.
        channels: Of the layers: 32 for the student of a quarter, 16 for that of a sixteenth.
        reweight: False: the plain form, 5e-4 times the norm of all S - T.
        temperature: Of the softmax. (The config for a sixteenth says 1e-4, which is not read.)

    Sizes: a voxel of the teacher is compared with the student's in which its center lies, if any.
    """

    def __init__(self, student_channels=None, teacher_channels=None, num_voxels=6000,
                 kneighbours=128, channels=32, reweight=True, temperature=0.01):
        super().__init__(student_channels, teacher_channels, num_voxels, kneighbours, channels,
                         reweight, temperature)

    def forward(self, student, teacher, teacher_voxels, teacher_voxel_pairs):
        """Compare voxels.

        Args:
            student: (M, Cs).
            teacher: (N, Ct).
            teacher_voxels (dict): ``num_points`` (N,).
            teacher_voxel_pairs: (2, P) rows of the student and of the teacher that belong together.

        Returns:
            The scalar loss; 0 for less than two pairs.

        Raises:
            ValueError: The rows are no features of voxels with numbers of points.
        """
        counts = teacher_voxels.get('num_points')
        if counts is None or student.dim() != 2 or teacher.dim() != 2 \
                or len(counts) != len(teacher):
            raise ValueError(
                f'PointDistillerLoss: student {tuple(student.shape)} and teacher '
                f'{tuple(teacher.shape)} must be rows of voxels (tap voxels), the '
                + ("teacher's voxels with numbers of points, which hard voxelization has "
                   "(voxel_type='hard')" if counts is None else
                   f'teacher one for each of its {len(counts)} voxels'))
        mine, theirs = teacher_voxel_pairs
        student, teacher = prepare(student, teacher, resize=False)
        student, teacher, counts = student[mine], teacher[theirs], counts[theirs]
        if len(student) < 2:
            return zero_of(student)
        query = self.choose(counts[None])
        return self.compare(student[None], teacher[None], query,
                            self.neighbours(teacher[None], query),
                            self.weights(counts[None], query))

    def weights(self, counts, query):
        """(B, Q), None for the plain form."""
        if not self.reweight:
            return None
        return query.shape[1] * (counts.double().gather(1, query) / self.temperature).softmax(1)


@MODELS.register_module()
class PointDistillerMapLoss(_LocalGraphs):
    """The same of a map seen from above, for detectors of voxels (SECOND).

    Centers are the cells in which the largest of the teacher's channels is largest, neighbours
    those of the same sample.

    Args:
        student_channels, teacher_channels: Found by the dry run.
        num_voxels: Q; on smaller maps all cells are centers.
        kneighbours: k; on smaller maps all cells are neighbours.
        channels: Of the layers.
        reweight: False: the plain form, 5e-4 times the norm of all S - T.
        temperature: Of the softmax, where there is one.
        official_weights: The official softmax runs over an axis of one number, so that the weight
            of every center is the batch size. False: Q softmax(largest channel / temperature).

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    def __init__(self, student_channels=None, teacher_channels=None, num_voxels=256,
                 kneighbours=128, channels=32, reweight=True, temperature=1e-4,
                 official_weights=True):
        super().__init__(student_channels, teacher_channels, num_voxels, kneighbours, channels,
                         reweight, temperature)
        self.official_weights = official_weights

    def forward(self, student, teacher):
        """Compare maps.

        Args:
            student: (B, Cs, Y, X).
            teacher: (B, Ct, Y', X').

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes differ.
        """
        check_maps('PointDistillerMapLoss', student, teacher)
        empty = empty_loss(student, teacher)
        if empty is not None or len(teacher) * teacher[0, 0].numel() < 2:
            return zero_of(student)
        student, teacher = (x.flatten(2).mT for x in prepare(student, teacher))
        query = self.choose(teacher.amax(2))
        return self.compare(student, teacher, query, self.neighbours(teacher, query),
                            self.weights(teacher, query))

    def weights(self, teacher, query):
        """(B, Q), None for the plain form; ``teacher`` (B, N, C)."""
        if not self.reweight:
            return None
        if self.official_weights:
            return teacher.new_full(query.shape, len(teacher))
        scores = teacher.amax(2).gather(1, query)
        return query.shape[1] * (scores / self.temperature).softmax(1)


class EdgeLayer(nn.Module):
    """Convolution, BatchNorm and ReLU of edges: the features of a neighbour and of the center.

    The convolution is linear, so that it is computed for each row once and added along edges.
    """

    def __init__(self, channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        kaiming_init(self.conv)
        constant_init(self.bn, 1)

    def forward(self, rows, query, neighbours):
        """rows (B, N, C), query (B, Q), neighbours (B, Q, k) -> (B, D, Q, k)"""
        of_neighbour, of_center = (x.t().expand(len(rows), -1, -1)
                                   for x in self.conv.weight.flatten(1).chunk(2, 1))
        far = rows_at(matmul(rows, of_neighbour), neighbours.flatten(1)).unflatten(
            1, neighbours.shape[1:])
        near = matmul(rows_at(rows, query), of_center)
        return self.bn((far + near[:, :, None]).permute(0, 3, 1, 2)).relu()


def rows_at(rows, places):
    """(B, Q, C) of rows (B, N, C) at ``places`` (B, Q)."""
    return rows.gather(1, places[:, :, None].expand(-1, -1, rows.shape[2]))
