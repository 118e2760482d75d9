"""Does the train pipeline of a 3D data set load what student and teachers read, where they look?"""
import contextlib

from ..utils.configs import is_distiller, load_model_config, teachers_of, type_name

_PACKS = ('Pack3DDetInputs', 'PackBEVInputs')
#: detectors of images whose backbone is called ``backbone``
_OF_IMAGES = ('FCOSMono3D', 'PGD', 'SMOKEMono3D', 'MonoFlex', 'ImVoxelNet', 'DfM', 'MultiViewDfM',
              'SingleStageMono3DDetector')
#: key of a data set's modality, what it is, the steps that load it
_MODALITIES = (
    ('use_lidar', 'points', ('LoadPointsFromFile', 'LoadPointsFromMultiSweeps')),
    ('use_camera', 'images', ('LoadMultiViewImageFromFiles', 'LoadCameraImages',
                              'LoadImageFromFileMono3D')))
_LOADS = dict(points='LoadPointsFromFile', img='LoadMultiViewImageFromFiles, or for cameras in '
                                                'bird\'s eye view mmkd.LoadCameraImages')


def scene_problems(cfg, contents, datasets):
    """Messages on modalities that are not loaded, ranges and orders of classes that differ.

    Args:
        cfg (Config): The training's config.
        contents (list of Contents): What is in its datasets.
        datasets (list): (loader, config) of each dataset.
    """
    problems, networks = [], None
    for loader, dataset in datasets:
        steps = _nested(dataset.get('pipeline'))
        packed = _packed(steps)
        if packed is None:  # no data set of mmdet3d, or a step of the user's own
            continue
        problems += _without_folders(dataset, loader, steps)
        networks = _networks(cfg) if networks is None else networks
        # Only the student is evaluated.
        for owner, model in networks if loader == 'train_dataloader' else networks[:1]:
            problems += _not_loaded(owner, model, loader, packed)
            problems += _cut_off(owner, model, loader, steps)
    for owner, model in (networks or [])[:1]:
        problems += _in_another_order(owner, model, contents)
    return problems


def unread(pipeline):
    """Which of 'points' and 'img' a pipeline neither loads nor packs: their files may be missing.

    Empty where a step of the user's own packs.
    """
    steps = _nested(pipeline)
    packed = _packed(steps)
    loaded = [name for name in map(type_name, steps) if name.startswith('Load')]
    return set() if packed is None else {
        kind for kind, word in dict(points='Points', img='Image').items()
        if kind not in packed and not any(word in name for name in loaded)}


def _packed(steps):
    """The keys that mmdet3d's or mmkd's last step packs; None where another one does."""
    return next((step.get('keys') or () for step in steps if type_name(step) in _PACKS), None)


def _nested(steps):
    """The steps of a pipeline, with those inside MultiScaleFlipAug3D and alike."""
    return [one for step in steps or () if isinstance(step, dict)
            for one in (step, *_nested(step.get('transforms')))]


def _networks(cfg):
    """(owner, model config) of the student, then of all teachers."""
    model = cfg.get('model') or {}
    if not is_distiller(model):
        return [('model', model)]
    sources = {'the student': model, **{
        'the teacher' if name == 'teacher' else f'teacher {name!r}': source.get('config')
        for name, source in teachers_of(model).items()}}
    found = []
    for owner, source in sources.items():
        # What is wrong with a config is told when the distiller is built, with all the rest.
        with contextlib.suppress(ValueError, FileNotFoundError):
            found.append((owner, load_model_config(source)[0]))
    return found


def _without_folders(dataset, loader, steps):
    """mmdet3d completes the paths of the modalities alone that the data set names."""
    modality = dataset.get('modality')
    if not isinstance(modality, dict):
        return []
    return [f'{type_name(step)} in the pipeline of {loader} loads {what}, but the data set has '
            f'modality={dict(modality)}: mmdet3d then does not complete the paths of these files. '
            f'Set modality=dict({key}=True, ...)'
            for step in steps for key, what, loads in _MODALITIES
            if type_name(step) in loads and not modality.get(key)]


def _voxel_range(model):
    layer = (model.get('data_preprocessor') or {}).get('voxel_layer') or {}
    return layer.get('point_cloud_range')


def _not_loaded(owner, model, loader, keys):
    reads = [kind for kind, there in dict(
        points=any(key in model for key in ('pts_voxel_encoder', 'voxel_encoder')),
        img='img_backbone' in model or type_name(model) in _OF_IMAGES).items() if there]
    return [f"{owner} ({type_name(model)}) reads {'points' if kind == 'points' else 'images'}, but "
            f"the pipeline of {loader} packs {', '.join(keys)}: load them ({_LOADS[kind]}) and "
            f"name {kind!r} among the keys of the step that packs"
            for kind in reads if kind not in keys]


def _cut_off(owner, model, loader, steps):
    """Points that a network's voxels could see, but the pipeline cuts off."""
    seen, problems = _voxel_range(model), []
    for step in steps:
        kept = step.get('point_cloud_range')
        if type_name(step) != 'PointsRangeFilter' or seen is None or kept is None:
            continue
        if any(a > b + 1e-3 for a, b in zip(kept[:2], seen[:2], strict=True)) or any(
                a < b - 1e-3 for a, b in zip(kept[3:5], seen[3:5], strict=True)):
            problems.append(
                f'PointsRangeFilter of {loader} keeps {list(kept)}, but the voxels of {owner} '
                f'({type_name(model)}) cover {list(seen)}: beyond, it would see empty space. Let '
                'it keep the range of the network that sees furthest')
    return problems


def _in_another_order(owner, model, contents):
    """A CenterHead takes label i for the i-th name of its tasks."""
    head = next((model[key] for key in ('pts_bbox_head', 'bbox_head')
                 if isinstance(model.get(key), dict) and model[key].get('tasks')), None)
    names = [] if head is None else [name for task in head['tasks']
                                     for name in task.get('class_names') or ()]
    return [f'the head of {owner} calls its classes {_some(names)}, but {found.where} has '
            f'{_some(found.names)}: label i of the data is the i-th name of the tasks. Write '
            "both in the same order (metainfo=dict(classes=...) of the data sets)"
            for found in contents if names and found.names and list(found.names) != names]


def _some(names):
    return f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''} ({len(names)})"
