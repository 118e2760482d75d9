"""What is in a dataset: its pictures, its classes, and whether its annotations can be read."""
import importlib
import os
import stat
from collections import Counter
from dataclasses import dataclass, field

from mmengine.registry import DATASETS, DefaultScope

from ..utils.hints import did_you_mean

_FILES = 5000  # how many are looked for
#: base class of a library's data sets -> the module that looks into them
_LOOKS = {'mmseg.BaseSegDataset': 'data_mmseg', 'mmdet.BaseDetDataset': 'data_mmdet',
          'mmdet3d.Det3DDataset': 'data_mmdet3d'}


@dataclass
class Contents:
    """What was found in a dataset.

    ``what`` says what is counted; ``classes`` is its number of classes and ``names`` are theirs,
    None if it does not say; ``problems`` are messages; ``pictures`` has the paths of those that
    were found and ``ids`` their ids, where they have some; ``notes`` say what is right, but perhaps
    not expected.
    """
    loader: str
    kind: str
    count: int = 0
    what: str = 'pictures'
    names: tuple | None = None
    problems: list = field(default_factory=list)
    pictures: list = field(default_factory=list)
    ids: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    @property
    def classes(self):
        return len(self.names) if self.names else None

    @property
    def where(self):
        """How messages call it."""
        return f'{self.kind} of {self.loader}'


def read_contents(cfg, loader, scope=None):
    """The Contents of one dataset; None for a dataset that keeps its files in its own way.

    Args:
        cfg (dict): The dataset's config.
        loader (str): How messages call where it stands.
        scope (str, optional): The config's default scope.
    """
    with DefaultScope.overwrite_default_scope(scope), \
            DATASETS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
        kind = cfg['type'] if isinstance(cfg.get('type'), type) else registry.get(
            str(cfg.get('type')))
        module = _module_for(kind)
        if module is None or cfg.get('backend_args'):
            return None
        contents = Contents(loader, kind.__name__)
        try:
            dataset = DATASETS.build(dict(cfg, lazy_init=True, pipeline=[]))
        except TypeError:  # a class of the user's with arguments of its own
            return None
        except Exception as error:
            contents.problems.append(f'{contents.where} cannot be built: '
                                     f'{str(error) or type(error).__name__}')
            return contents
        names = dataset.metainfo.get('classes')
        contents.names = tuple(names) if names else None
        module.look(dataset, contents, cfg)
    return contents


def _module_for(kind):
    """The module that looks into data sets of this class; None if there is none. Only libraries
    that are there are asked: those whose classes it inherits from."""
    for base in getattr(kind, '__mro__', ()):
        name = _LOOKS.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        if name is not None:
            return importlib.import_module(f'.{name}', __package__)
    return None


def look_for_files(contents, samples, key, what, setting, value):
    """Look for the files that ``samples`` name, and add a problem if some do not exist or are
    empty.

    Args:
        contents (Contents): Of the data set.
        samples (list of dict): Of which ``key`` is a path.
        what (str): How messages call such files.
        setting, value (str): What in the config makes these paths, and what it is.
    """
    looked = samples[::max(1, len(samples) // _FILES)]
    paths = [sample[key] for sample in looked if key in sample]
    sizes = {path: _size(path) for path in paths}
    lost = [path for path in paths if sizes[path] is None]
    empty = [path for path in paths if sizes[path] == 0]
    if empty:
        contents.problems.append(
            f'{contents.where}: {len(empty)} of {len(paths)} {what} are empty (0 bytes), the first '
            f'is {empty[0]}: write them again, or leave them out of the data set')
    if not lost:
        return
    folder = os.path.dirname(lost[0])
    if setting.endswith('suffix') and (len(lost) == len(paths) or not os.path.isdir(folder)):
        near = endings(folder, setting)
    elif os.path.isdir(folder):
        near = did_you_mean(os.path.basename(lost[0]), os.listdir(folder))
    else:
        near = f'; there is no folder {folder}'
    contents.problems.append(
        f'{contents.where}: {len(lost)} of {len(paths)} {what} do not exist, the first is '
        f'{lost[0]}{near} ({setting} is {value!r})')


def _size(path):
    """Bytes of a file; None if it is not there. A folder is never empty."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else 1


def endings(folder, key):
    """What the files of a folder end in, as a cure."""
    names = [name for _, _, files in os.walk(folder) for name in files][:_FILES]
    if not names:
        return f'; there is no file in {folder}'
    ending, count = Counter(os.path.splitext(name)[1] for name in names).most_common(1)[0]
    example = sorted(name for name in names if name.endswith(ending))[0]
    return f'; {count} of its files end in {ending!r}, as {example}: set {key}'
