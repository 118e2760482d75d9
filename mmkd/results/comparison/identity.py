"""What makes two trainings the same: their config's content, and weights by what they are."""
import functools
import hashlib
import json

from ...utils.provenance import sha256


def as_json(value):
    """``value`` as it comes back from a JSON file."""
    return json.loads(json.dumps(value, default=str))


def fingerprint(asked):
    """A name for a config's content."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def flat(value, where=''):
    """Nested dicts and lists as {path: value}; an empty one is a value."""
    if isinstance(value, dict) and value:
        pairs = [(f'{where}.{key}' if where else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        pairs = [(f'{where}[{i}]', item) for i, item in enumerate(value)]
    else:
        return {where: value}
    return {path: leaf for key, item in pairs for path, leaf in flat(item, key).items()}


@functools.cache
def weights_id(path):
    """The sha256 of a file; of an address, the address."""
    return path if '://' in path else sha256(path)
