"""Which levels of two pyramids belong together: those of equal stride."""
from dataclasses import dataclass

from .values import has_levels


@dataclass(frozen=True)
class Pairing:
    """The levels that a term compares.

    ``strides``: of the compared levels, in the student's image, finest first; None where there
    is no pyramid, or one of another number of maps in every step: nothing is left out then.
    ``index``: side -> name of a tap (None for the only one) -> places of the levels in what the
    tap gives.
    """
    strides: tuple | None
    index: dict

    def take(self, side, value):
        """``value`` of a side with its pyramids reduced to the levels that are compared."""
        if self.strides is None:
            return value
        if isinstance(value, dict):
            return {name: self._take(side, name, item) for name, item in value.items()}
        return self._take(side, None, value)

    def _take(self, side, name, value):
        return [value[i] for i in self.index[side][name]] if isinstance(value, list) else value


def pair_levels(values, sizes, levels):
    """Pair the levels of the student's and the teacher's pyramids by stride.

    Levels of the same stride within one pyramid (SOLO, plain transformers) are paired in order.

    Args:
        values (dict): side -> what is tapped in the dry run: a tensor, a list, a dict of these.
        sizes (dict): side -> width of the dry run's image.
        levels (str | tuple of int): 'all': a level without a partner is an error; 'common':
            those that both sides have; or the strides to take.

    Raises:
        ValueError: Only one side is a pyramid, or a level has no partner.
    """
    kinds = _kinds(values)
    if not any(kinds.values()):
        if levels != 'all':
            raise ValueError(f'levels={levels!r}: neither tap is a pyramid; a pyramid is '
                             "written 'path[:]', or a name such as 'neck' that is one")
        return Pairing(None, {})
    if not all(kinds.values()):
        one, many = sorted(kinds, key=kinds.get)
        raise ValueError(f'the {many} tap is a pyramid and the {one} tap is one map; choose a '
                         "level of the pyramid with '[i]' behind a module's path, or tap a "
                         "pyramid on both sides ('path[:]')")
    found = {(side, name): _numbered(_strides(item, sizes[side]))
             for side, value in values.items()
             for name, item in (value.items() if isinstance(value, dict) else [(None, value)])
             if isinstance(item, list)}
    common = [key for key in next(iter(found.values()))
              if all(key in other for other in found.values())]
    wanted = _wanted(found, common, levels)
    index = {side: {name: [found[side, name].index(key) for key in wanted]
                    for owner, name in found if owner == side} for side in values}
    return Pairing(tuple(stride for stride, _ in wanted), index)


def _kinds(values):
    """side -> whether it is a pyramid; of the first name that only one side has as a pyramid."""
    student, teacher = values['student'], values['teacher']
    if isinstance(student, dict) and isinstance(teacher, dict):
        for name in student:
            kinds = {side: has_levels(value.get(name)) for side, value in values.items()}
            if name in teacher and len(set(kinds.values())) == 2:
                return {f'{side} ({name})': kind for side, kind in kinds.items()}
    return {side: has_levels(value) for side, value in values.items()}


def _strides(maps, size):
    return [max(round(size / x.shape[-1]), 1) for x in maps]


def _numbered(strides):
    """[8, 8, 16] -> [(8, 0), (8, 1), (16, 0)]"""
    return [(stride, strides[:i].count(stride)) for i, stride in enumerate(strides)]


def _wanted(found, common, levels):
    if levels == 'all':
        alone = {owner: [key for key in keys if key not in common] for owner, keys in found.items()}
        if any(alone.values()):
            partnerless = _text(sorted({key for keys in alone.values() for key in keys}))
            raise ValueError(f'{_listed(found)}; those of stride {partnerless} have no partner. '
                             "levels='common' compares the levels that all have ("
                             f"{_text(common) or 'none here'}), levels=[8, 16] those of these "
                             'strides')
        return common
    if levels == 'common':
        if not common:
            raise ValueError(f"levels='common', but {_listed(found)}: none is in all")
        return common
    missing = [stride for stride in levels if stride not in {s for s, _ in common}]
    if missing:
        raise ValueError(f'levels={list(levels)}, but {_listed(found)}: '
                         f"{', '.join(map(str, missing))} is not in all")
    return [key for key in common if key[0] in levels]


def _listed(found):
    return '; '.join(f'the {side} tap' + (f' {name!r}' if name else '')
                     + f' has levels of stride {_text(keys)}' for (side, name), keys in
                     found.items())


def _text(keys):
    return ', '.join(str(stride) for stride, _ in keys)
