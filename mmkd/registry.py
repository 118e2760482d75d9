"""mmkd's registries: scope ``mmkd``, children of mmengine's roots.

``type='mmkd.CWDLoss'`` finds its class from any OpenMMLab config: mmengine
imports ``mmkd.registry`` for the scope and the listed ``locations`` for the
classes, so nothing has to be imported by hand.
"""
import importlib
import importlib.util

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry


class LibraryRegistry(Registry):
    """A registry, some of whose classes need a library that takes seconds to import.

    Args:
        library (str): The library.
        later (dict): Name of a class -> its module, imported when the class is first asked for.
    """

    def __init__(self, *args, library, later, **kwargs):
        super().__init__(*args, **kwargs)
        self.library, self.later = library, later

    def get(self, key):
        """The class called ``key``.

        Raises:
            ModuleNotFoundError: It needs the library, which is not installed.
        """
        scope, _, name = key.rpartition('.')
        if name in self.later and scope in ('', self.scope) and name not in self._module_dict:
            if importlib.util.find_spec(self.library) is None:
                raise ModuleNotFoundError(f'{self.scope}.{name} needs {self.library}, which is '
                                          'not installed')
            importlib.import_module(self.later[name])
        return super().get(key)


#: distillers, connectors, losses and detectors
MODELS = LibraryRegistry(
    'model', parent=MMENGINE_MODELS, scope='mmkd', locations=['mmkd.models'], library='mmdet3d',
    later=dict(BEVDet='mmkd.models.bev.bevdet', BEVDet4D='mmkd.models.bev.temporal',
               BEVFusion='mmkd.models.bev.fusion'))
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='mmkd', locations=['mmkd.engine'])
OPTIM_WRAPPERS = Registry('optim_wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='mmkd',
                          locations=['mmkd.engine'])
DATASETS = LibraryRegistry(
    'dataset', parent=MMENGINE_DATASETS, scope='mmkd', locations=['mmkd.datasets'],
    library='mmdet3d', later=dict(NuScenesSequenceDataset='mmkd.datasets.sequences'))
TRANSFORMS = LibraryRegistry(
    'transform', parent=MMENGINE_TRANSFORMS, scope='mmkd',
    locations=['mmkd.datasets.transforms'], library='mmdet3d',
    later=dict(LoadCameraImages='mmkd.datasets.transforms.cameras',
               LoadPreviousFrame='mmkd.datasets.transforms.cameras',
               PackBEVInputs='mmkd.datasets.transforms.packing'))

__all__ = ['DATASETS', 'HOOKS', 'MODELS', 'OPTIM_WRAPPERS', 'TRANSFORMS']
