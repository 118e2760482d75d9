"""Nearest names for error messages."""
import difflib


def nearest(word, known, count=3):
    """Up to ``count`` of ``known`` that look like ``word``, best first; never ``word`` itself."""
    word = '' if word is None else str(word)
    spelled = {}  # in small letters -> as it is: another case is the nearest there is
    for name in map(str, known):
        if name != word:
            spelled.setdefault(name.lower(), name)
    small = word.lower()
    found = difflib.get_close_matches(small, spelled, n=count, cutoff=0.5)
    # A path is often right but for its start or its end.
    parts = [name for name in spelled if small and (small in name or name in small)]
    parts.sort(key=lambda name: abs(len(name) - len(small)))
    return [spelled[name] for name in dict.fromkeys([*found, *parts])][:count]


def did_you_mean(word, known, count=3):
    """'; did you mean 'a', 'b'?' or an empty string."""
    names = nearest(word, known, count)
    return f"; did you mean {', '.join(map(repr, names))}?" if names else ''


def refuse_unknown(what, keys, known, noun='key'):
    """Raise ValueError for the first of ``keys`` that is not in ``known``: ``what`` has no such
    ``noun``, these it has, and the nearest."""
    for key in keys:
        if key not in known:
            raise ValueError(f"{what} has no {noun} {key!r} (it has {', '.join(known) or 'none'})"
                             + did_you_mean(key, known))
