"""MGD, masked generative distillation (Yang et al., ECCV 2022).

The student's map is aligned, masked at random and completed by a small generator
(``MGDConnector``); the loss is the squared distance between what was generated and the
teacher's map, summed over channels and positions and divided by the batch size only. The value
therefore grows with C*H*W, which ties ``alpha_mgd`` to the crop and the width.

The published segmentation numbers were trained with a second term that the official distiller
adds by itself: CWD on the logits with tau 4 and weight 3.
"""
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, prepare


@MODELS.register_module()
class MGDLoss(nn.Module):
    """Squared error of the generated map.

    Scale per level: a sum over C*H*W, so each level of a pyramid weighs four times as much as the
    next coarser one, and the finest of them has three quarters of the loss. The published weights
    of detectors count on it: 2e-5 from stride 8 on, 5e-7 (and lambda 0.45) from stride 4 on.

    Args:
        alpha_mgd: factor of the loss; 2e-5 for segmentation and detection, 7e-5 for
            classification.

    Sizes: the student's map is resized bilinearly to the teacher's height and width,
        after the generator.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, alpha_mgd=2e-5):
        super().__init__()
        self.alpha_mgd = alpha_mgd

    def forward(self, student, teacher):
        """Compares the maps; a student of another size is resized bilinearly.

        Args:
            student: (N, C, H, W), what the generator made of the student's map.
            teacher: (N, C, H', W').

        Returns:
            alpha_mgd / N times the sum of the squared difference.

        Raises:
            ValueError: if batch sizes or channels differ.
        """
        check_maps('MGDLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher)
        return self.alpha_mgd * (student - teacher).square().sum() / teacher.shape[0]

    def extra_repr(self):
        return f'alpha_mgd={self.alpha_mgd}'
