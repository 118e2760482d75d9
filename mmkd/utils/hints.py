"""Nearest names for error messages."""
import difflib


def nearest(word, known, count=3):
    """Up to ``count`` of ``known`` that look like ``word``, best first."""
    word, known = '' if word is None else str(word), [str(name) for name in known]
    found = difflib.get_close_matches(word, known, n=count, cutoff=0.5)
    # A path is often right but for its start or its end.
    parts = [name for name in known if word and (word in name or name in word)]
    parts.sort(key=lambda name: abs(len(name) - len(word)))
    return list(dict.fromkeys([*found, *parts]))[:count]


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
