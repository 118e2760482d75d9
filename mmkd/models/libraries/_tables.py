"""What the library files share: tables by the name of a class, image sizes."""


def entry_of(table, head):
    """``table``'s entry for the class of ``head`` or the nearest class that it inherits from."""
    return next((table[cls.__name__] for cls in type(head).__mro__ if cls.__name__ in table), None)


def pairs_of(sizes):
    """The (H, W) among ``sizes``, each once, in order; a number is a square, other things go."""
    sizes = [(size, size) if isinstance(size, int) else size for size in sizes]
    return list(dict.fromkeys(tuple(size) for size in sizes if isinstance(size, (list, tuple))
                              and len(size) == 2 and all(isinstance(n, int) for n in size)))
