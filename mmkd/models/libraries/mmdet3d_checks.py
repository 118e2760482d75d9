"""Can a detector of mmdet3d read this batch? Asked in every step, before it would guess."""
import torch

from .mmdet3d_inputs import point_values, reads

#: how a pipeline is made to load a modality
HOW = dict(
    points="points: LoadPointsFromFile in the train pipeline, and 'points' among the keys of "
           'Pack3DDetInputs (or mmkd.PackBEVInputs)',
    imgs="images: load them in the train pipeline (LoadMultiViewImageFromFiles, or for several "
         "cameras mmkd.LoadCameraImages), and 'img' among the keys of Pack3DDetInputs (or "
         'mmkd.PackBEVInputs)')


def check_batch(model, called, inputs, data_samples):
    """Refuse a batch that ``model`` cannot read, or would read as fewer samples.

    Raises:
        ValueError: A modality is missing; points have another number of values than the model
            reads, or some that are not finite; a sample has no point.
    """
    who = f'{called} ({type(model).__name__})'
    for kind in reads(model):
        if not isinstance(inputs, dict) or inputs.get(kind) is None:
            has = ', '.join(inputs) if isinstance(inputs, dict) else 'a tensor'
            raise ValueError(
                f'{who} reads {kind}, and the batch has none (it has {has or "nothing"} for it). '
                f'One pipeline must load what student and teachers read; here {HOW[kind]}')
    if 'points' in reads(model):
        tokens = [sample.get('token', sample.get('sample_idx')) for sample in data_samples]
        _check_points(model, who, inputs['points'], tokens)
        _check_voxels(who, inputs, tokens)


def _check_points(model, who, clouds, tokens):
    count, at_least = point_values(model)
    if getattr(model.data_preprocessor, 'voxel_type', None) not in ('hard', 'dynamic'):
        count = None  # others add values of their own, as cylinders do
    given = sorted({points.shape[1] for points in clouds})
    if count is not None and any(n < count or n > count and not at_least for n in given):
        raise ValueError(
            f'{who} reads points of {count} values (in_channels or num_features of its voxel '
            f'encoder), and those of the batch have {", ".join(map(str, given))}: use_dim of '
            'LoadPointsFromFile and LoadPointsFromMultiSweeps in the train pipeline decides it. '
            'Load for all networks the values with which the teacher was trained')
    finite = torch.stack([points.isfinite().all() for points in clouds])
    if not finite.all():
        which = [i for i, fine in enumerate(finite.tolist()) if not fine]
        raise ValueError(
            f'{who} reads points, and in samples {which} of the batch (of {tokens}) some are not '
            'finite (NaN or infinite), of which its maps would be NaN. Write these sweeps without '
            'such points; PointsRangeFilter in the train pipeline drops those whose x, y or z is '
            'not finite')


def _check_voxels(who, inputs, tokens):
    coors = (inputs.get('voxels') or {}).get('coors')
    if coors is None:
        return
    empty = [i for i, points in enumerate(inputs['points']) if not len(points)]
    # mmdet3d takes the last voxel's sample for the last of the batch.
    seen = int(coors[-1, 0]) + 1 if len(coors) else 0
    if empty or seen < len(inputs['points']):
        which = empty or list(range(seen, len(inputs['points'])))
        raise ValueError(
            f'{who} reads points, and samples {which} of the batch (of {tokens}) have none within '
            'the range of its voxels: is the sweep empty or cut off, or is the range another than '
            'that of PointsRangeFilter? Leave such samples out')
