"""What is known of what a tap gives, besides its shape: a place in metres, classes."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Of a map seen from above, or of a list of such maps.

    Attributes:
        bev: Whether what is tapped are maps (B, C, Y, X) seen from above.
        range: (x_min, y_min, x_max, y_max) that such a map covers, metres; None if it is not
            known. Row 0 begins at y_min, column 0 at x_min.
        tasks: For a list with a map for each task of a head: the names of the classes of each.
        by_class: Whether the channels of a task's map are its classes, in this order.
    """
    bev: bool = False
    range: tuple | None = None
    tasks: tuple | None = None
    by_class: bool = False


UNKNOWN = Layout()


def cells_of(metres, x):
    """(x, y) size in metres of a cell of a map ``x`` (..., Y, X) that covers the range."""
    x_min, y_min, x_max, y_max = metres
    return (x_max - x_min) / x.shape[-1], (y_max - y_min) / x.shape[-2]


def metres_text(metres):
    """'x -50 to 50 m, y -50 to 50 m'"""
    x_min, y_min, x_max, y_max = metres
    return f'x {x_min:g} to {x_max:g} m, y {y_min:g} to {y_max:g} m'
