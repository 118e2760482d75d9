"""Items of 3D data sets as pictures, each model's in one column."""
from ..models.libraries import library_of
from .boxes3d import sample_picture

#: of a map, metres, where the config has no point_cloud_range
AROUND = (-51.2, -51.2, -5., 51.2, 51.2, 3.)
#: modality as a library calls it -> key of a data set's inputs
_KEYS = dict(points='points', imgs='img')


def is_scene(item):
    """Whether a data set's item has boxes in the LiDAR frame."""
    boxes = item['data_samples'].metainfo.get('box_type_3d')
    return getattr(boxes, '__name__', None) == 'LiDARInstance3DBoxes'


def range_of(cfg):
    """The point_cloud_range of a config's map, metres."""
    return tuple(cfg.get('point_cloud_range') or AROUND)


class SceneDrawing:
    """A function of (item, data sample): images of all cameras, and the map below, with boxes.

    Args:
        cfg (Config): Of whose ``point_cloud_range`` the map is.
    """

    width = 640  # of a column, pixels

    def __init__(self, cfg):
        self.range = range_of(cfg)

    def given(self, items):
        """{title: pictures} of what the data set has."""
        return {'ground truth': [self(item, item['data_samples'], truth=True) for item in items]}

    def lacks(self, model, item):
        """What the model reads and the item has not, in words; '' if nothing."""
        names = dict(points='points', imgs='images')
        return ' and '.join(names[kind] for kind in library_of(model).reads(model)
                            if _KEYS[kind] not in item['inputs'])

    def __call__(self, item, sample, truth=False):
        predicted = None if truth else sample.pred_instances_3d
        return sample_picture(item, self.range, predicted, below=True)
