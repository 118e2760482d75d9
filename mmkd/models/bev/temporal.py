"""BEVDet4D: BEVDet that also sees the previous keyframe.

Huang and Huang, "BEVDet4D: Exploit Temporal Cues in Multi-camera 3D Object Detection", 2022.
"""
import torch

from ...registry import MODELS
from .bevdet import BEVDet


@MODELS.register_module()
class BEVDet4D(BEVDet):
    """Images (B, 2 * N, 3, H, W): N cameras of this frame, then of the previous one.

    ``lidar2cam`` of the previous cameras goes from *this* frame's LiDAR to the camera at its
    earlier time (``mmkd.LoadPreviousFrame`` makes it from the ego poses), so that their features
    are lifted right into this frame's map (B, C, Y, X): what stands still falls into the same
    cell. BEVDet4D instead lifts them into the previous frame's map and shifts that by bilinear
    sampling; here nothing is resampled, and what the shift moves out of the map is not lost. Its
    extra encoder before the maps are put together is left out: img_bev_encoder_backbone gets
    both maps, this frame's first, so its in_channels are twice the view transformer's.

    Args:
        grad_previous (bool): Let gradients into the previous frame's features. BEVDet4D does not.

    The others are those of :class:`BEVDet`.
    """

    def __init__(self, *args, grad_previous=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.grad_previous = grad_previous

    def lift(self, images, cameras):
        """Both maps (B, 2 * C, Y, X), and the depth's logits of this frame.

        Raises:
            ValueError: an odd number of images.
        """
        count = images.shape[1] // 2
        if images.shape[1] % 2 or count == 0:
            raise ValueError(f'{images.shape[1]} images are not two frames of the same cameras: '
                             'put mmkd.LoadPreviousFrame into the pipeline, after '
                             'mmkd.LoadCameraImages')
        frames = images.split(count, 1)
        if self.grad_previous:  # in one pass: DDP refuses one that is recomputed twice
            features = self.image_features(images).unflatten(0, images.shape[:2])
            features = [part.flatten(0, 1) for part in features.split(count, 1)]
        else:
            features = [self.image_features(frames[0])]
            with torch.no_grad():
                features.append(self.image_features(frames[1]))
        size = images.shape[-2:]
        bev, depth = self.img_view_transformer(features[0], cameras.cameras(0, count), size)
        with torch.set_grad_enabled(self.grad_previous and torch.is_grad_enabled()):
            previous, _ = self.img_view_transformer(features[1], cameras.cameras(count, 2 * count),
                                                    size)
        return torch.cat([bev, previous], 1), depth
