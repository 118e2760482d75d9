"""Where a training goes on, or starts from."""
import glob
import logging
import os
import re
import zipfile

from mmengine.logging import print_log

from ..engine.continuing import check_start
from ..utils.checkpoint import load_checkpoint_file


def find_start(cfg, resume=None):
    """Set ``cfg.resume`` and ``cfg.load_from``, and return (loaded file, its name).

    Args:
        cfg (Config): Of the training. With ``resume=True`` in it, ``None`` means 'auto'.
        resume (str, optional): A file, or 'auto' for the newest checkpoint of the work dir.

    Returns:
        tuple: (None, None) if nothing is loaded, or a file that only mmengine can find.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read.
    """
    if resume is None and cfg.get('resume'):
        resume = cfg.resume if isinstance(cfg.resume, str) else cfg.get('load_from') or 'auto'
    if resume == 'auto':
        resume = latest_checkpoint(cfg.work_dir)
        if resume is None:
            print_log(f'no checkpoint in {cfg.work_dir!r} yet: training starts from the beginning',
                      logger='current', level=logging.WARNING)
    cfg.resume, cfg.load_from = resume is not None, resume or cfg.get('load_from')
    source = cfg.load_from
    if source is None or re.match(r'(?!https?:)\w[\w-]*://', source):
        return None, None
    loaded = load_checkpoint_file(source)
    seed = (loaded.get('meta') or {}).get('seed') if isinstance(loaded, dict) else None
    if cfg.resume and seed is not None:  # without one of its own, the run has the checkpoint's
        randomness = dict(cfg.get('randomness') or {})
        if randomness.get('seed') is None:
            cfg.randomness = dict(randomness, seed=seed)
    return loaded, source


def check_found(model, cfg, found):
    """Refuse what :func:`find_start` found if ``model`` cannot start from it."""
    loaded, source = found
    if loaded is not None:
        check_start(model, loaded, source, cfg.resume)


def latest_checkpoint(work_dir):
    """The newest whole checkpoint of a work dir; None if training wrote none yet.

    The one that ``last_checkpoint`` names, if it is whole; else the one of the highest
    iteration or epoch. A work dir may have been moved since it was written.

    Raises:
        ValueError: There are checkpoints, but none is whole.
    """
    files = [path for path in glob.glob(os.path.join(glob.escape(work_dir), '*.pth'))
             if re.fullmatch(r'(iter|epoch)_\d+\.pth', os.path.basename(path))]
    files.sort(key=lambda path: (int(re.findall(r'\d+', os.path.basename(path))[0]),
                                 os.path.getmtime(path)), reverse=True)
    note = os.path.join(work_dir, 'last_checkpoint')
    if os.path.isfile(note):
        with open(note) as file:
            named = file.read().strip()
        moved = os.path.join(work_dir, os.path.basename(named))
        files = [path for path in (named, moved) if os.path.isfile(path)][:1] + files
    broken = []
    for path in dict.fromkeys(files):
        if _is_whole(path):
            if broken:
                print_log(f'{", ".join(broken)}: truncated; going on from {path}',
                          logger='current', level=logging.WARNING)
            return path
        broken.append(path)
    if broken:
        raise ValueError(f'no checkpoint in {work_dir!r} is whole ({", ".join(broken)} truncated): '
                         'remove them to start anew, or choose one with --resume FILE')
    return None


def how_to_go_on(work_dir):
    """What was saved last in a work dir, and how to continue: for someone who pressed Ctrl-C."""
    try:
        last = latest_checkpoint(work_dir)
    except ValueError as error:
        return str(error)
    if last is None:
        return f'nothing was saved in {work_dir!r} yet'
    return f'{last} was saved last; the same command with --resume goes on from there'


def _is_whole(path):
    """Whether the end of the file is there (torch's older format has no such mark)."""
    with open(path, 'rb') as file:
        start = file.read(2)
    return bool(start) and (start != b'PK' or zipfile.is_zipfile(path))
