"""Whether an exported student needs mmkd: tried in a process that cannot import it."""
import json
import os
import subprocess
import sys

#: Imports what can be imported, builds the model and loads the weights, all without mmkd.
_SCRIPT = """
import importlib, json, sys
sys.modules['mmkd'] = None  # every import of it fails
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
config, weights = sys.argv[1:]
cfg = Config.fromfile(config, import_custom_modules=False)
names = (cfg.get('custom_imports') or {}).get('imports') or []
failed, problem = {}, None
for name in [names] if isinstance(names, str) else names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f'{type(error).__name__}: {error}'
try:
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    if 'pretrained' in cfg.model:
        cfg.model.pretrained = None
    MODELS.build(cfg.model).load_state_dict(torch.load(weights)['state_dict'])
except Exception as error:
    problem = f'{type(error).__name__}: {error}'
print('\\n' + json.dumps(dict(failed=failed, problem=problem)))
"""


def try_without_mmkd(config, weights):
    """Load an exported student where mmkd cannot be imported.

    Returns:
        tuple: ({module of custom_imports: why it cannot be imported}, why the student cannot be
        built and loaded, or None).

    Raises:
        RuntimeError: Not even this could be tried.
    """
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', _SCRIPT, config, weights],
                          env=dict(os.environ, PYTHONPATH=path), text=True, capture_output=True,
                          check=False)
    if done.returncode:
        raise RuntimeError(f'{config!r} cannot be read without mmkd: {done.stderr[-500:]}')
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer['failed'], answer['problem']


def names_used(cfg, module):
    """The types in ``cfg`` that an imported module (or a part of it) defines."""
    parts = [part for name, part in list(sys.modules.items())
             if part is not None and (name == module or name.startswith(f'{module}.'))]
    defined = {name for part in parts for name in vars(part)
               if getattr(getattr(part, name), '__module__', None) == part.__name__}
    return sorted(defined & set(types_in(cfg.to_dict())))


def types_in(value):
    """Every ``type`` in nested dicts and lists, without its scope."""
    if isinstance(value, dict):
        kind = value.get('type')
        if isinstance(kind, str):
            yield kind.rpartition('.')[2]
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for item in value:
        yield from types_in(item)
