"""mmdet3d's info files, written by mmdet3d's own converter."""
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

INFOS = ('nuscenes_infos_train.pkl', 'nuscenes_infos_val.pkl')
#: the converter reads ./data/nuscenes whatever it is told, so that it runs beside such a link; and
#: its package is called tools, as others are
_PROGRAM = """
import sys, types
sys.modules['tools'] = types.ModuleType('tools')
sys.modules['tools'].__path__ = [sys.argv[1]]
from tools.dataset_converters.nuscenes_converter import create_nuscenes_infos
from tools.dataset_converters.update_infos_to_v2 import update_pkl_infos
create_nuscenes_infos('./data/nuscenes', 'nuscenes', sys.argv[2], int(sys.argv[3]))
for split in ('train', 'val'):
    update_pkl_infos('nuscenes', './data/nuscenes', f'./data/nuscenes/nuscenes_infos_{split}.pkl')
"""


def write_infos(root, version, max_sweeps=10):
    """Write ``nuscenes_infos_{train,val}.pkl`` (format 1.1) into a nuScenes tree.

    The code is that of mmdet3d's ``tools/create_data.py``, without its database of objects.

    Args:
        root (str): the tree's root, with the tables in ``root/version``.
        version (str): 'v1.0-trainval' or 'v1.0-mini'.
        max_sweeps (int): scans before each keyframe that are listed at most.

    Raises:
        RuntimeError: if mmdet3d or nuscenes-devkit is missing or fails, with what it printed.
    """
    tools = find_converter()
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, 'data', 'nuscenes')
        link.parent.mkdir()
        link.symlink_to(Path(root).resolve(), target_is_directory=True)
        done = subprocess.run(
            [sys.executable, '-c', _PROGRAM, str(tools), version, str(max_sweeps)], cwd=folder,
            capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mmdet3d's converter failed on {root}:\n{done.stderr[-3000:]}")


def find_converter():
    """mmdet3d's folder ``tools``, whether it was installed or checked out.

    Raises:
        RuntimeError: if mmdet3d or nuscenes-devkit is missing.
    """
    for package, name in (('mmdet3d', 'mmdet3d 1.4'), ('nuscenes', 'nuscenes-devkit')):
        if find_spec(package) is None:
            raise RuntimeError(f'info files need {name}, which is not installed; install it, or '
                               'do without them (infos=False, --no-infos)')
    home = Path(find_spec('mmdet3d').origin).parent
    for folder in (home / '.mim' / 'tools', home.parent / 'tools'):
        if (folder / 'dataset_converters' / 'nuscenes_converter.py').is_file():
            return folder
    raise RuntimeError(f"mmdet3d's tools/dataset_converters are not beside {home}; install mmdet3d "
                       'from a wheel or a checkout, or do without info files (infos=False, '
                       '--no-infos)')
