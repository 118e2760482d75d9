"""The reference pages, and that docstrings say what they are made of."""
import inspect
import re
import sys

import pytest

import mmkd.engine  # noqa: F401 - registers the hooks
from mmkd.models.schedules import SCHEDULES
from mmkd.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from mmkd.results.reference import arguments, pages, parse, registered

for registry in (MODELS, DATASETS, TRANSFORMS):  # those that need mmdet3d come when asked for
    registry.import_from_location()
    for name in registry.later:
        registry.get(name)
OURS = [cls for registry in (MODELS, HOOKS, DATASETS, TRANSFORMS)
        for cls in registry.module_dict.values() if cls.__module__.startswith('mmkd.')]
OURS += SCHEDULES.values()
LOSSES = registered('losses')


def by_name(item):
    return item.__name__


@pytest.mark.parametrize('item', OURS, ids=by_name)
def test_every_argument_is_described_and_nothing_else(item):
    assert list(parse(item.__doc__)['Args']) == list(arguments(item))
    assert all(parse(item.__doc__)['Args'].values())


@pytest.mark.parametrize('cls', LOSSES, ids=by_name)
def test_a_loss_says_what_it_takes_from_where_and_how_it_compares_sizes(cls):
    takes = [p.name for p in inspect.signature(cls.forward).parameters.values()
             if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)][1:]
    assert set(parse(cls.forward.__doc__)['Args']) == set(takes)
    assert parse(cls.__doc__)['Sizes']
    source = parse(sys.modules[cls.__module__].__doc__)[''].split('\n\n')[0]
    assert re.search(r'\b(19|20)\d\d\b', source), f'no paper with its year: {source!r}'


def test_each_part_has_its_place_on_its_page():
    found = pages()
    assert list(found) == [f'docs/reference/{name}.md'
                           for name in ('losses', 'connectors', 'schedules')]
    for name, items in (('losses', LOSSES), ('connectors', registered('connectors')),
                        ('schedules', SCHEDULES.values())):
        page = found[f'docs/reference/{name}.md']
        assert len(items) > 3
        for item in items:
            section = re.split(r'\n##+ ', page.partition(f'# {item.__name__}\n')[2])[0]
            assert section, item
            for argument, parameter in arguments(item).items():
                default = 'required' if parameter.default is parameter.empty else \
                    f'`{parameter.default!r}`'
                assert f'| `{argument}` | {default} | ' in section
        assert '``' not in page.replace('```', '') and ':class:' not in page


def test_a_docstring_is_read_as_it_is_written():
    known = parse("""What it does.

    More ``of`` it.

    Args:
        a (int | str): The first,
            on two lines.
        b, c: Both.

    Sizes: resized,
        then compared.

    Raises:
        ValueError: Never.
    """)
    assert known[''] == 'What it does.\n\nMore ``of`` it.'
    assert known['Args'] == dict(a='The first, on two lines.', b='Both.', c='Both.')
    assert known['Sizes'].split() == ['resized,', 'then', 'compared.']
    assert known['Raises'] == 'ValueError: Never.'
    assert parse(None) == {'': '', 'Args': {}}
