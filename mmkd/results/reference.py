"""Reference pages of losses, connectors and schedules, from signatures and docstrings.

Docstrings are Google's style: prose, then ``Args:``, ``Sizes:`` (how a loss compares maps of
different size), ``Returns:`` and ``Raises:``.
"""
import inspect
import re
import sys
import textwrap

import mmkd.models  # noqa: F401 - registers everything

from ..models.schedules import SCHEDULES
from ..registry import MODELS
from .tables import table

FOLDER = 'docs/reference'
_GENERATED = '<!-- written by tools/report.py from the docstrings; edit those -->'
_SECTIONS = ('Args', 'Sizes', 'Returns', 'Raises', 'Attributes')
_INTROS = dict(
    losses='`loss=dict(type=\'mmkd....\', ...)` of a term. What a loss returns is multiplied by '
    'the term\'s `weight` and schedule. Arguments found by the dry run need not be given.',
    connectors='`student_connector=` or `teacher_connector=` of a term: what makes two taps '
    'comparable. Channels are found by the dry run.',
    schedules='`schedule=dict(type=..., ...)` of a term: a factor on its weight. Times (`begin`, '
    '`end`, `milestones`) are iterations (int) or a fraction of the training (float from 0 to 1).')


def pages():
    """{path in the repository: text} of all reference pages."""
    found = {name: [f'# {name.capitalize()}', _GENERATED, _INTROS[name]] for name in _INTROS}
    kind = None
    for cls in registered('losses'):
        heading = cls.__module__.split('.')[3].capitalize()
        if heading != kind:
            found['losses'].append(f'## {heading}')
            kind = heading
        found['losses'] += [f'### {cls.__name__}', *_class(cls)]
    for cls in registered('connectors'):
        found['connectors'] += [f'## {cls.__name__}', *_class(cls)]
    for name, function in SCHEDULES.items():
        found['schedules'] += [f'## {name}', *_call(name, arguments(function))]
        found['schedules'] += _described(parse(function.__doc__), arguments(function))
    return {f'{FOLDER}/{name}.md': '\n\n'.join(parts) + '\n' for name, parts in found.items()}


def registered(room):
    """mmkd's own registered classes of mmkd.models.<room>, by module and name."""
    found = {cls for cls in MODELS.module_dict.values()
             if cls.__module__.startswith(f'mmkd.models.{room}.')}
    return sorted(found, key=lambda cls: (cls.__module__.split('.')[3:-1], cls.__name__))


def arguments(function):
    """{name: Parameter} that a user gives (not ``self``, not a schedule's time ``t``)."""
    if inspect.isclass(function) and function.__init__ is object.__init__:
        return {}
    own = function.__init__ if inspect.isclass(function) else function
    return {name: p for name, p in inspect.signature(own).parameters.items()
            if name not in ('self', 't') and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def parse(docstring):
    """{'': prose, section: text} of a docstring; ``Args`` is {name: text}."""
    sections, current = {'': []}, ''
    for line in inspect.cleandoc(docstring or '').splitlines():
        heading = re.fullmatch(rf"({'|'.join(_SECTIONS)}):(?: (.*))?", line)
        if heading:
            current = heading[1]
            sections[current] = [heading[2]] if heading[2] else []
        else:
            if current and line and not line.startswith(' '):
                current = ''  # prose goes on after a section
                sections[''].append('')
            sections[current].append(line)
    texts = {name: textwrap.dedent('\n'.join(lines)).strip() for name, lines in sections.items()}
    texts['Args'] = _entries(texts.get('Args', ''))
    return texts


def _entries(text):
    """{name: text} of ``name, other (type): text`` with indented continuation lines."""
    found, names = {}, []
    for line in text.splitlines():
        start = re.match(r'([\w*, ]+?)(?: \(([^)]*)\))?: ?(.*)', line)
        if start and not line.startswith(' '):
            names = [name.strip(' *') for name in start[1].split(',')]
            found.update(dict.fromkeys(names, start[3]))
        else:
            for name in names:
                found[name] = f'{found[name]} {line.strip()}'.strip()
    return found


def _class(cls):
    known, forward = parse(cls.__doc__), parse(cls.forward.__doc__)
    parts = _call(f'mmkd.{cls.__name__}', arguments(cls))
    source = parse(sys.modules[cls.__module__].__doc__)[''].split('\n\n')[0]
    parts += [_markdown(source), *_described(known, arguments(cls))]
    takes = {name: text for name, text in forward['Args'].items() if name in inspect.signature(
        cls.forward).parameters} if 'forward' in vars(cls) else {}
    if takes:
        parts.append(table(['It compares' if 'teacher' in takes else 'It takes', ''],
                           [[f'`{name}`', _cell(text)] for name, text in takes.items()]))
    elif 'forward' in vars(cls) and forward['']:
        parts.append(_markdown(forward['']))
    if 'Sizes' in known:
        parts.append(f"Maps of different size: {_line(known['Sizes'])}")
    if forward.get('Returns'):
        parts.append(f"Returns {_markdown(_lower(forward['Returns']))}")
    return parts


def _call(name, given):
    """The dict that makes it, with every default."""
    values = ''.join(f', {key}={"..." if p.default is p.empty else repr(p.default)}'
                     for key, p in given.items())
    return ['```python\n' + '\n'.join(textwrap.wrap(
        f'dict(type={name!r}{values})', 96, subsequent_indent=' ' * 5,
        break_long_words=False)) + '\n```']


def _described(known, given):
    parts = [_markdown(known[''])] if known[''] else []
    if given:
        parts.append(table(['Argument', 'Default', 'Meaning'], [
            [f'`{name}`', 'required' if p.default is p.empty else f'`{p.default!r}`',
             _cell(known['Args'].get(name, ''))] for name, p in given.items()]))
    return parts


def _markdown(text):
    """reStructuredText as our docstrings use it: roles, literals, tables."""
    text = re.sub(r':\w+:`~?([^`]+)`', r'`\1`', text).replace('``', '`')
    # A table of = rules has no form of its own in Markdown.
    return re.sub(r'^(=+ +=[= ]*)$.*^\1$', lambda m: f'```text\n{m[0]}\n```', text,
                  flags=re.MULTILINE | re.DOTALL)


def _line(text):
    return _markdown(' '.join(text.split()))


def _cell(text):
    return _line(text).replace('|', '\\|')


def _lower(text):
    return text[0].lower() + text[1:] if text[1:2].islower() else text


__all__ = ['FOLDER', 'arguments', 'pages', 'parse', 'registered']
