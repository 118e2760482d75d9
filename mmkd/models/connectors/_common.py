"""Argument checks that the connectors share."""


def need_channels(owner, **channels):
    """Raises a ValueError that names the first of ``channels`` that is not a positive integer.

    Args:
        owner: the connector, for the message.
        **channels: the arguments to check, by name.
    """
    for name, value in channels.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f'{type(owner).__name__}: {name}={value!r}, expected a positive number of '
                'channels. A distiller finds it by a dry run; set it where the connector is '
                'built alone')


def need_odd(owner, **sizes):
    """Raises a ValueError that names the first kernel size that is not a positive odd integer."""
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1 or value % 2 == 0:
            raise ValueError(f'{type(owner).__name__}: {name}={value!r}, expected an odd number '
                             '(1, 3, 5 ...): only those keep the size of the map')


def need_map(owner, x):
    """Raises a ValueError if ``x`` is not a map (N, C, H, W)."""
    if x.dim() != 4:
        raise ValueError(f'{type(owner).__name__} takes a map (N, C, H, W), not a tensor of shape '
                         f"{tuple(x.shape)}{' (tokens?)' if x.dim() == 3 else ''}: tap a layer "
                         'that gives a map')
