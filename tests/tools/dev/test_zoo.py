"""The zoo's report says what was found; one model, checked whole."""
import dataclasses
import json
import os
import re
import sys

import pytest

from tests.detectors import small_detector
from tests.helpers import tiny_segmentor

ROWS = {'a.py': dict(stock='', logits='', backbone='', configs=3, seconds=1., commit='1a'),
        'b.py': dict(stock='', logits='no gradient', backbone='', configs=1, seconds=1.,
                     commit='2b'),
        'c.py': dict(stock='ImportError: ldm', configs=1, seconds=1., commit='2b')}
TERMS = ('logits', 'backbone')
MODELS = {'a.py': 3, 'b.py': 1, 'c.py': 1, 'd.py': 4}


def test_report_counts_and_names_what_is_not_perfect(zoo):
    assert zoo.summary(ROWS, TERMS) == dict(logits=(1, 2), backbone=(2, 2))
    text = zoo.render(dict(library='mmseg', models=ROWS, unread=dict(d='x'), date='d', torch='t',
                           command='c', configs=9, distinct=4), 'mmseg')
    assert '| logits term | 1 of 2 |' in text and '| backbone term | 2 of 2 |' in text
    assert '| b.py | logits term: no gradient |' in text
    assert '| c.py | does not train here without mmkd: ImportError: ldm |' in text
    assert 'a.py' not in text and '9 configs' in text
    assert '3 of 4 were tried, with mmkd as of 2b (2), 1a (1)' in text


def test_a_term_that_a_model_has_no_tensor_for_is_not_counted(zoo):
    rows = {'a.py': dict(stock='', neck='', roi=''), 'b.py': dict(stock='', neck='no gradient')}
    assert zoo.summary(rows, ('neck', 'head', 'roi')) == dict(neck=(1, 2), head=(0, 0), roi=(1, 1))
    assert zoo.worse_than({}, rows, ('neck', 'roi')) == ['b.py']


def test_a_child_that_dies_or_hangs_is_a_result(zoo, monkeypatch):
    def check(config, library):
        if config == 'dies':
            os._exit(3)
        while True:
            pass

    monkeypatch.setattr(zoo, 'model_of', lambda config, library, smaller: config)
    monkeypatch.setattr(zoo, 'check', check)
    found = dict(zoo.results_of(['dies', 'hangs'], 'mmseg', 2, 1))
    assert found['dies']['logits'] == 'died (3)'
    assert found['hangs']['backbone'] == 'longer than 1 s of CPU'


def test_a_detector_that_cannot_be_narrow_is_tried_as_it_is(zoo, monkeypatch):
    monkeypatch.setattr(zoo, 'model_of', lambda config, library, smaller: smaller)
    monkeypatch.setattr(zoo, 'check', lambda smaller, library: dict(
        stock='too narrow' if 'narrow' in smaller else '', how=smaller, library=library))
    assert dict(zoo.results_of(['a'], 'mmdet', 1, 9))['a']['library'] == 'mmdet'
    assert dict(zoo.results_of(['a'], 'mmdet', 1, 9))['a']['stock'] == ''
    assert dict(zoo.results_of(['a'], 'mmdet3d', 1, 9))['a']['how'] == ('coarsen',)


def _run(zoo, monkeypatch, tmp_path, found, *args, written=None):
    """(exit code, the report written) of a run that finds these rows."""
    def results(configs, library, jobs, limit):
        for config in configs:
            if found[config] is KeyboardInterrupt:
                raise KeyboardInterrupt
            yield config, found[config]

    if written is not None:
        (tmp_path / 'zoo.json').write_text(json.dumps(dict(models=written)))
    monkeypatch.setattr(zoo, 'RESULTS', tmp_path)
    monkeypatch.setattr(zoo, 'PROGRESS', tmp_path)
    monkeypatch.setattr(zoo, 'distinct_models', lambda library: (MODELS, {}))
    monkeypatch.setattr(zoo, 'results_of', results)
    try:
        code = zoo.main(zoo.parse_args(['--library', 'mmseg', *args]))
    except KeyboardInterrupt:
        code = None
    return code, json.loads((tmp_path / 'zoo.json').read_text())


def test_an_interrupted_run_is_written_and_goes_on(zoo, monkeypatch, tmp_path):
    rows = {**ROWS, 'd.py': KeyboardInterrupt}
    code, report = _run(zoo, monkeypatch, tmp_path, rows)
    assert code is None and list(report['models']) == ['a.py', 'b.py', 'c.py']
    assert report['distinct'] == 4 and report['configs'] == 9
    assert re.fullmatch(r'[0-9a-f]{7,}\+?', report['models']['a.py']['commit'])
    code, report = _run(zoo, monkeypatch, tmp_path, {'d.py': ROWS['a.py']})  # only what is left
    assert code == 0 and list(report['models']) == list(MODELS)
    fixed = dict(ROWS['a.py'], size=[1, 1])
    code, report = _run(zoo, monkeypatch, tmp_path, {'b.py': fixed}, '--again', '^b')
    assert report['models']['b.py']['size'] == [1, 1] and len(report['models']) == 4


@pytest.mark.parametrize('row', (ROWS['b.py'], ROWS['c.py']))
def test_a_sample_fails_where_it_is_worse_than_written(zoo, monkeypatch, tmp_path, capsys, row):
    args = ('--sample', '9', '--seed', '1')
    good = dict.fromkeys(MODELS, ROWS['a.py'])
    assert _run(zoo, monkeypatch, tmp_path, good, *args, written=good)[0] == 0
    now = {**good, 'b.py': row}
    assert _run(zoo, monkeypatch, tmp_path, now, *args, written=good)[0] == 1
    assert 'worse than written: b.py' in capsys.readouterr().out
    assert _run(zoo, monkeypatch, tmp_path, now, *args, written={**good, 'b.py': row})[0] == 0


def test_a_sample_changes_with_its_seed_and_is_repeated_by_it(zoo, monkeypatch, tmp_path, capsys):
    good, said = dict.fromkeys(MODELS, ROWS['a.py']), {}
    for seed in (*range(20), *range(20)):
        _run(zoo, monkeypatch, tmp_path, good, '--sample', '1', '--seed', str(seed), written=good)
        drawn = capsys.readouterr().out.splitlines()[1]
        assert said.setdefault(seed, drawn) == drawn
    assert len(set(said.values())) > 1


def test_one_model_is_checked_whole(zoo):
    from _zoo_check import check
    model = tiny_segmentor('PSPHead')
    assert {**check(model), 'size': None} == dict(stock='', logits='', backbone='', size=None)
    model['decode_head']['num_classes'] = 'many'
    assert 'stock' in check(model) and check(model)['stock']
    assert sys.modules['_zoo_check']


def test_one_detector_is_checked_whole(zoo):
    """With RoIs: all three terms, the RoIs shared."""
    from _zoo_check import check
    found = check(small_detector('faster'), 'mmdet')
    assert {**found, 'size': None} == dict(stock='', neck='', head='', roi='', size=None)


def test_numbers_make_no_other_detector_and_layers_do(zoo):
    from _zoo_models import _key
    model = small_detector('retinanet').to_dict()
    wide = small_detector('retinanet', width=32).to_dict()
    assert _key(model, 'mmdet') == _key(wide, 'mmdet') != _key(
        dict(model, neck=dict(model['neck'], type='PAFPN')), 'mmdet')


def test_a_term_that_reads_two_tensors_and_one_that_cannot_be_built_are_told_apart(
        zoo, monkeypatch):
    import _zoo_check
    terms = zoo.ZOOS['mmseg'].terms
    monkeypatch.setitem(zoo.ZOOS, 'mmseg', dataclasses.replace(zoo.ZOOS['mmseg'], terms=dict(
        logits=(('depth',), terms['logits'][1]),
        backbone=(('backbone',), dict(terms['backbone'][1], student_tap='backbone[-1]',
                                      teacher_tap='backbone[-2]')))))
    found = _zoo_check.check(tiny_segmentor())
    assert "has no 'depth'" in found['logits']
    assert found['backbone'] == 'student and teacher read different tensors'
