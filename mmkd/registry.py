"""mmkd's registries: scope ``mmkd``, children of mmengine's roots.

``type='mmkd.CWDLoss'`` finds its class from any OpenMMLab config: mmengine
imports ``mmkd.registry`` for the scope and the listed ``locations`` for the
classes, so nothing has to be imported by hand.
"""
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import Registry

#: distillers, connectors and losses
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmkd', locations=['mmkd.models'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='mmkd', locations=['mmkd.engine'])
OPTIM_WRAPPERS = Registry('optim_wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='mmkd',
                          locations=['mmkd.engine'])

__all__ = ['HOOKS', 'MODELS', 'OPTIM_WRAPPERS']
