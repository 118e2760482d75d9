"""How a term's weight changes over training: a factor on it, by iteration.

``schedule=dict(type='linear', begin=0, end=1000)``. Times are iterations
(int) or a fraction of the whole training (float from 0 to 1).
"""
import functools
import inspect
import math

from mmengine.logging import MessageHub

from ..utils.hints import did_you_mean, refuse_unknown


def constant(t):
    """The weight itself, always."""
    return 1.


def linear(t, begin=0, end=1., start=0., stop=1.):
    """From ``start`` at ``begin`` to ``stop`` at ``end``, in a line; flat outside.

    Args:
        begin: time of the first change.
        end: time from which it does not change any more.
        start: factor until ``begin``.
        stop: factor from ``end`` on.
    """
    return start + (stop - start) * _part(t, begin, end)


def cosine(t, begin=0, end=1., start=1., stop=0.):
    """From ``start`` at ``begin`` to ``stop`` at ``end``, on half a cosine; flat outside.

    Args:
        begin: time of the first change.
        end: time from which it does not change any more.
        start: factor until ``begin``.
        stop: factor from ``end`` on.
    """
    return stop + (start - stop) * (1 + math.cos(math.pi * _part(t, begin, end))) / 2


def step(t, milestones, gamma=0.1):
    """Times ``gamma`` at each of ``milestones``.

    Args:
        milestones: list of times.
        gamma: what the factor is multiplied by at each.
    """
    return gamma ** sum(t.iteration >= t.at(m) for m in milestones)


def stop(t, end, begin=0):
    """1 from ``begin`` until before ``end``, else 0: the term is not computed there.

    Args:
        end: time from which the term is off.
        begin: time before which the term is off.
    """
    return float(t.at(begin) <= t.iteration < t.at(end))


SCHEDULES = {f.__name__: f for f in (constant, linear, cosine, step, stop)}


class Time:
    """Where training is: ``iteration`` (from 0) of ``total`` (None when unknown)."""

    def __init__(self, iteration, total=None):
        self.iteration, self.total = iteration, total

    def at(self, when):
        """``when`` (iteration or fraction) as an iteration."""
        if not isinstance(when, float):
            return when
        if self.total is None:
            raise ValueError(f'a schedule gives a time as a fraction ({when}), but the length of '
                             'the training is not known outside a Runner; give iterations')
        return when * self.total

    @property
    def progress(self):
        """Share of training done, 0 to 1 (0 when the total is not known)."""
        return min(self.iteration / self.total, 1.) if self.total else 0.


def now():
    """Iteration and total, as the Runner notes them; 0 of an unknown total without one."""
    hub = MessageHub.get_current_instance()
    return Time(hub.get_info('iter', 0), hub.get_info('max_iters', None))


def _part(t, begin, end):
    begin, end = t.at(begin), t.at(end)
    if end <= begin:
        return float(t.iteration >= end)
    return min(max((t.iteration - begin) / (end - begin), 0.), 1.)


def never_on(schedule, total):
    """Whether a schedule's factor is 0 in each of a training's ``total`` iterations.

    Without a known length (None) nothing is claimed.
    """
    return total is not None and not any(schedule(Time(i, total)) for i in range(total))


def build_schedule(cfg):
    """A function Time -> factor from ``dict(type=..., ...)`` (None: constant).

    Raises:
        ValueError: Unknown type or argument, or a time that is none.
    """
    if cfg is None:
        cfg = dict(type='constant')
    if not isinstance(cfg, dict):
        raise ValueError(f"a schedule is a dict such as dict(type='linear'), not {cfg!r}")
    cfg = dict(cfg)
    name = cfg.pop('type', None)
    if name not in SCHEDULES:
        raise ValueError(f"schedule type {name!r} is none of {', '.join(SCHEDULES)}"
                         + did_you_mean(name, SCHEDULES))
    known = dict(list(inspect.signature(SCHEDULES[name]).parameters.items())[1:])
    refuse_unknown(f'schedule {name!r}', cfg, known, 'argument')
    needed = [key for key, p in known.items() if p.default is p.empty and key not in cfg]
    if needed:
        raise ValueError(f"schedule {name!r} needs {', '.join(needed)}")
    milestones = cfg.get('milestones', ())
    if not isinstance(milestones, (list, tuple)):
        raise ValueError(f'schedule {name!r}: milestones must be a list of times, not '
                         f'{milestones!r}')
    for key in ('start', 'stop', 'gamma'):
        if isinstance(cfg.get(key, 0.), bool) or not isinstance(cfg.get(key, 0.), (int, float)):
            raise ValueError(f'schedule {name!r}: {key} must be a number, not {cfg[key]!r}')
    times = [cfg[key] for key in ('begin', 'end') if key in cfg] + list(milestones)
    for when in times:
        fine = isinstance(when, (int, float)) and not isinstance(when, bool) and when >= 0
        if not fine or (isinstance(when, float) and when > 1):
            raise ValueError(f'schedule {name!r}: the time {when!r} is neither an iteration (int) '
                             'nor a fraction of training (float from 0 to 1)')
    return functools.partial(SCHEDULES[name], **cfg)
