"""What is known of what a tap gives, besides its shape: a place in metres, classes."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Of a map seen from above, or of a list of such maps.

    Attributes:
        bev: Whether what is tapped are maps (B, C, Y, X) seen from above.
        range: (x_min, y_min, x_max, y_max) that such a map covers, metres; None if it is not
            known. Row 0 begins at y_min, column 0 at x_min.
        grid: (X, Y), in how many cells the network itself divides the range, of which coarser
            and finer maps are made; None if it is not known.
        tasks: For a list with a map for each task of a head: the names of the classes of each.
        by_class: Whether the channels of a task's map are its classes, in this order.
    """
    bev: bool = False
    range: tuple | None = None
    grid: tuple | None = None
    tasks: tuple | None = None
    by_class: bool = False

    def cell(self, x):
        """(x, y) size in metres of a cell of a map ``x`` (..., Y, X)."""
        return tuple(self._size(axis, x.shape[-1 - axis]) for axis in (0, 1))

    def _size(self, axis, count):
        extent = self.range[axis + 2] - self.range[axis]
        if self.grid is not None:
            whole = self.grid[axis]
            times = round(whole / count) if count <= whole else 1 / round(count / whole)
            size = extent / whole * times
            # Strides round up: of 117 cells they make 59, the last of which reaches beyond.
            if abs(count * size - extent) < size * .999:
                return size
        return extent / count

    def end(self, x, axis):
        """Where the last cell of a map ends along x (axis 0) or y (axis 1), metres."""
        return self.range[axis] + x.shape[-1 - axis] * self.cell(x)[axis]


UNKNOWN = Layout()


def metres_text(metres):
    """'x -50 to 50 m, y -50 to 50 m'"""
    x_min, y_min, x_max, y_max = metres
    return f'x {x_min:g} to {x_max:g} m, y {y_min:g} to {y_max:g} m'
