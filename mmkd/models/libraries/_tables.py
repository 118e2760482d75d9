"""Tables by the name of a class, which subclasses inherit from."""


def entry_of(table, head):
    """``table``'s entry for the class of ``head`` or the nearest class that it inherits from."""
    return next((table[cls.__name__] for cls in type(head).__mro__ if cls.__name__ in table), None)
