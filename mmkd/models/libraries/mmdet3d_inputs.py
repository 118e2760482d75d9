"""What a detector of mmdet3d is given: points, images of one camera or several, and boxes."""
from torch import nn

from ._tables import pairs_of
from .mmdet3d_bev import bev_parts, module_of, view_transformer

#: image sizes (H, W) to try in the dry run; input_sizes has them, for a model may see no images
SIZES = ()
_SIZES = ((64, 64), (128, 128), (256, 256), (512, 512))
#: of those whose pyramids go to stride 128, which must differ from 64
_MONO_SIZES = ((256, 256), (512, 512))
CAMERAS = 6


def reads(model):
    """Which of 'points' and 'imgs' the model looks at."""
    found = []
    if module_of(model, 'pts_voxel_encoder', 'voxel_encoder', 'pts_backbone')[1] is not None or (
            module_of(model, 'img_backbone', 'neck_3d')[1] is None and not _is_mono(model)):
        found.append('points')
    if module_of(model, 'img_backbone', 'neck_3d')[1] is not None or _is_mono(model):
        found.append('imgs')
    return tuple(found)


def _is_mono(model):
    """Whether it learns boxes in a camera's frame, or lifts images without an ``img_backbone``."""
    kinds = {cls.__name__ for cls in type(model).__mro__}
    return bool(kinds & {'SingleStageMono3DDetector', 'ImVoxelNet', 'DfM'})


def views(model):
    """How many cameras the model looks through at once; None for single images."""
    several = view_transformer(model) is not None or any(
        cls.__name__ == 'MultiViewDfM' for cls in type(model).__mro__)
    return CAMERAS if several else None


def box_head(model):
    """The head that gives boxes; None if there is none that is known."""
    return module_of(model, bev_parts(model).get('head', 'bbox_head'), 'bbox_head')[1]


def num_classes(model):
    """Of the head; None where it does not say. A CenterHead has a number for each task."""
    count = getattr(box_head(model), 'num_classes', None)
    return sum(count) if isinstance(count, (list, tuple)) else count


def input_channels(model):
    """Numbers of channels to try, of the points where it reads points: x, y, z, intensity, ..."""
    if 'points' not in reads(model):
        mean = getattr(model.data_preprocessor, 'mean', None)
        return [3 if mean is None else len(mean)]
    count, _ = point_values(model)
    if count is None and module_of(model, 'pts_voxel_encoder', 'voxel_encoder')[1] is None:
        layers = (nn.Conv1d, nn.Conv2d)  # the backbone's first
        count = next((m.in_channels for m in model.modules() if isinstance(m, layers)), None)
    numbers = [count, 4, 5, 3, 6]
    return list(dict.fromkeys(n for n in numbers if isinstance(n, int) and n >= 3))


def point_values(model):
    """(number, whether more are left unread) of the values of a point that the voxel encoder
    reads; None for the number where it does not say."""
    _, encoder = module_of(model, 'pts_voxel_encoder', 'voxel_encoder')
    count = getattr(encoder, 'num_features', getattr(encoder, 'in_channels', None))
    if hasattr(encoder, 'in_channels'):  # what the encoder itself adds to the points
        count -= sum(number for key, number in dict(
            _with_cluster_center=3, _with_voxel_center=3, _with_distance=1).items()
            if getattr(encoder, key, False))
    return count, hasattr(encoder, 'num_features')


def input_sizes(model):
    """Image sizes (H, W) to try; none for a model that sees no images."""
    if 'imgs' not in reads(model):
        return []
    sizes = _MONO_SIZES if learns_in_camera(model) else _SIZES
    return [*sizes, *pairs_of(getattr(module, 'img_size', None) for module in model.modules())]


def learns_in_camera(model):
    return any(cls.__name__ == 'SingleStageMono3DDetector' for cls in type(model).__mro__)


def is_indoors(model):
    """Whether it learns boxes in the frame of a depth camera: x right, y forward, z up."""
    kinds = {cls.__name__ for cls in type(model).__mro__}
    return getattr(model, 'coord_type', None) == 'DEPTH' or 'SSD3DNet' not in kinds and bool(
        kinds & {'VoteNet', 'ImVoteNet', 'GroupFree3DNet', 'H3DNet', 'MinkSingleStage3DDetector'})
