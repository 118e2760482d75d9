"""Loading the images of several cameras with their calibration, of one or two frames."""
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.datasets.transforms import LoadMultiViewImageFromFiles

from ...models.bev.geometry import homogeneous
from ...registry import TRANSFORMS

#: what the transforms here make for each camera
PER_CAMERA = ('img', 'cam2img', 'lidar2cam', 'img_aug_matrix', 'camera_names')


@TRANSFORMS.register_module()
class LoadCameraImages(BaseTransform):
    """mmdet3d's LoadMultiViewImageFromFiles for named cameras, with their matrices.

    Adds to its results the lists ``camera_names`` and ``img_aug_matrix`` (4 x 4, identity: picture
    as it was taken -> image), with an entry for each camera.

    Args:
        cameras (list[str], optional): Which, in which order; a sample must have them all. None:
            those that the sample has.

    The others are those of mmdet3d's LoadMultiViewImageFromFiles.
    """

    def __init__(self, cameras=None, **kwargs):
        self.cameras = cameras
        self.kwargs = kwargs

    def transform(self, results):
        """Load.

        Raises:
            ValueError: a camera, its file's name or its calibration is missing, or a matrix is
                no calibration; the message names sample and camera.
            FileNotFoundError: a picture is missing.
        """
        where = f"sample {results.get('token', results.get('sample_idx'))}"
        images = self.select(results.get('images') or {}, where)
        load = LoadMultiViewImageFromFiles(num_views=len(images), **self.kwargs)
        loaded = load.transform({'images': images})
        results.update(loaded, images=images, camera_names=list(images))
        results['img_aug_matrix'] = [np.eye(4) for _ in images]
        results['num_frames'] = 1
        return results

    def select(self, images, where):
        """{name of a camera: its info} of the cameras asked for, looked over."""
        if not images:
            raise ValueError(f"{where} has no images: is the dataset's modality "
                             'dict(use_camera=True)?')
        names = list(images) if self.cameras is None else self.cameras
        missing = [name for name in names if name not in images]
        if missing:
            raise ValueError(f"{where} has no {', '.join(missing)}; it has {', '.join(images)}")
        for name in names:
            for key in ('img_path', 'cam2img', 'lidar2cam'):
                if images[name].get(key) is None:
                    raise ValueError(f'{where}: {name} has no {key}')
            for key in ('cam2img', 'lidar2cam'):
                homogeneous(images[name][key], f'{key} of {name} of {where}')
        return {name: images[name] | {key: np.asarray(images[name][key], dtype=np.float64)
                                      for key in ('cam2img', 'lidar2cam')} for name in names}


@TRANSFORMS.register_module()
class LoadPreviousFrame(LoadCameraImages):
    """Append the images of the previous keyframe to those of this one.

    Their ``lidar2cam`` goes from *this* frame's LiDAR over the ego poses to the camera at its
    earlier time, so that a model that has the matrices needs no poses. Where there is no
    previous keyframe, this frame's images stand in for it. Put it right after
    :class:`LoadCameraImages`, with the same arguments. The data set is
    ``mmkd.NuScenesSequenceDataset``, which knows the previous keyframe.

    Args:
        cameras (list[str], optional): As for :class:`LoadCameraImages`.
    """

    def transform(self, results):
        """Append.

        Raises:
            ValueError: the data set does not say what came before, a pose is missing, or the
                previous frame has other cameras.
        """
        if 'previous' not in results:
            raise ValueError('LoadPreviousFrame: the data set does not say which keyframe came '
                             'before; use mmkd.NuScenesSequenceDataset')
        if results.get('num_frames') != 1:
            raise ValueError('LoadPreviousFrame comes right after LoadCameraImages, once')
        before = results['previous']
        if before is None:
            earlier = {key: [np.copy(x) if isinstance(x, np.ndarray) else x for x in results[key]]
                       for key in PER_CAMERA}
        else:
            earlier = super().transform(dict(before))
            if earlier['camera_names'] != results['camera_names']:
                raise ValueError(f"the frame before has the cameras {earlier['camera_names']}, "
                                 f"this one {results['camera_names']}")
            moved = np.linalg.inv(lidar_to_global(before)) @ lidar_to_global(results)
            earlier['lidar2cam'] = [matrix @ moved for matrix in earlier['lidar2cam']]
        for key in PER_CAMERA:
            results[key] = list(results[key]) + list(earlier[key])
        results['num_frames'] = 2
        return results


def lidar_to_global(info):
    """(4, 4) of a sample's info.

    Raises:
        ValueError: a pose is missing.
    """
    lidar = (info.get('lidar_points') or {}).get('lidar2ego')
    for name, matrix in (('ego2global', info.get('ego2global')), ('lidar2ego', lidar)):
        if matrix is None:
            raise ValueError(f"sample {info.get('token')} has no {name}, without which two frames "
                             'cannot be put together')
    return homogeneous(info['ego2global'], 'ego2global') @ homogeneous(lidar, 'lidar2ego')
