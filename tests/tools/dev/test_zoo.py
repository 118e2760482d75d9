"""The zoo's report says what was found; one model, checked whole."""
import os
import sys

import pytest

from tests.cli import ROOT
from tests.helpers import tiny_segmentor


@pytest.fixture
def zoo(monkeypatch):
    for folder in ('tools/dev', 'benchmarks'):
        monkeypatch.syspath_prepend(os.path.join(ROOT, folder))
    import zoo
    return zoo


ROWS = {'a.py': dict(stock='', student='', logits='', backbone='', configs=3, seconds=1.),
        'b.py': dict(stock='', student='', logits='no gradient', backbone='', configs=1,
                     seconds=1.),
        'c.py': dict(stock='ImportError: ldm', configs=1, seconds=1.)}


def test_report_counts_and_names_what_is_not_perfect(zoo):
    assert zoo.summary(ROWS) == dict(logits=(1, 2), backbone=(2, 2))
    text = zoo.render(dict(models=ROWS, unread=dict(d='x'), date='d', torch='t', command='c'))
    assert '| logits term | 1 of 2 |' in text and '| backbone term | 2 of 2 |' in text
    assert '| b.py | logits term: no gradient |' in text
    assert '| c.py | does not train here without mmkd: ImportError: ldm |' in text
    assert 'a.py' not in text and '5 configs' in text


def test_a_child_that_dies_or_hangs_is_a_result(zoo, monkeypatch):
    monkeypatch.setattr(zoo, 'model_of', lambda config: config)
    monkeypatch.setattr(zoo, 'check', lambda config: os._exit(3) if config == 'dies'
                        else __import__('time').sleep(60))
    found = dict(zoo.results_of(['dies', 'hangs'], 2, 3))
    assert found['dies']['logits'] == 'died (3)'
    assert found['hangs']['backbone'] == 'longer than 3 s'


def test_one_model_is_checked_whole(zoo):
    from _zoo_check import check
    model = tiny_segmentor('PSPHead')
    assert {**check(model), 'size': None} == dict(stock='', student='', logits='', backbone='',
                                                  size=None)
    model['decode_head']['num_classes'] = 'many'
    assert 'stock' in check(model) and check(model)['stock']
    assert sys.modules['_zoo_check']
