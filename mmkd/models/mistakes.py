"""Collecting what is wrong, so that it is told together."""


#: above what is wrong with a distiller's config
DISTILLATION = 'this distillation cannot work:'


class Several(ValueError):
    """Several mistakes of one thing; ``texts`` has one line for each."""

    def __init__(self, texts):
        self.texts = list(texts)
        super().__init__('\n'.join(self.texts))


class Mistakes:
    """Collects mistakes, to raise them together. True where there are some."""

    def __init__(self):
        self.errors = []  # (text, exception or None)

    def __bool__(self):
        return bool(self.errors)

    def catch(self, prefix, function, *args, **kwargs):
        """``function(*args, **kwargs)``, or None after noting its error."""
        try:
            return function(*args, **kwargs)
        except Several as error:
            for text in error.texts:
                self.add(prefix + text)
        except Exception as error:  # a user's class may raise anything
            text = str(error) or type(error).__name__
            if not isinstance(error, (ValueError, FileNotFoundError)):
                text = f'{type(error).__name__}: {text}'
            self.errors.append((prefix + text, error))
        return None

    def add(self, text):
        self.errors.append((text, None))

    def raise_any(self, title=None):
        """Raise what was found: a single missing file as FileNotFoundError, else ValueError
        (with ``title``: one message below it; without: :class:`Several`, for an outer
        ``catch``)."""
        if not self.errors:
            return
        texts, cause = [text for text, _ in self.errors], self.errors[0][1]
        if len(texts) == 1 and isinstance(cause, FileNotFoundError) and str(cause) == texts[0]:
            raise cause
        if title is None:
            raise Several(texts) from cause
        raise ValueError('\n'.join([title] + [f'  - {text}' for text in texts])) from cause
