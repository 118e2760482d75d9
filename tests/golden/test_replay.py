"""Replays the recorded reference cases, and holds the replay tool to what it promises.

The recorded cases lie outside the project and are replayed where they are; without them, the
hand-derived ones of ``test_adapters*.py`` remain.
"""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.golden.case import Case
from tests.golden.files import CaseError
from tests.golden.handmade import KL, SCORES, SLOPE, kd_case, mgd_case, write_dotted
from tests.golden.replay import adapters, compare, find_adapter, main, replay

ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / 'shared' / 'golden'
FILES = sorted(file for family in adapters()
               for pattern in ('seg/{}_[0-9]*', 'det/{}__*', 'det3d/{}_*')
               for file in RECORDED.glob(pattern.format(family) + '.json'))

if not FILES:
    @pytest.mark.skip(reason=f'no recorded cases: there is no folder {RECORDED}')
    def test_recorded_case():
        pass
else:
    @pytest.mark.parametrize('file', FILES, ids=[file.stem for file in FILES])
    def test_recorded_case(file):
        name, error, _, problems = replay(file)
        assert name == file.stem
        assert not problems and error < (1e-6 if file.parent.name == 'seg' else 1e-4)

    def test_every_adapter_has_a_recorded_case():
        # recorded, but not lying beside this repository
        elsewhere = {'dist_det', 'pointdistiller_second'}
        assert {find_adapter(file.stem)[1] for file in FILES} == set(adapters()) - elsewhere


def test_command_prints_name_and_error(tmp_path):
    run = subprocess.run([sys.executable, '-m', 'tests.golden.replay', str(kd_case(tmp_path))],
                         cwd=ROOT, text=True, capture_output=True)
    name, error = run.stdout.split()
    assert (run.returncode, name, run.stderr) == (0, 'kd_7', '') and float(error) < 1e-12


def test_float32_on_request(tmp_path, capsys):
    assert main(['--float32', str(kd_case(tmp_path))]) == 0
    assert 0 < float(capsys.readouterr().out.split()[1]) < 1e-5


@pytest.mark.parametrize('changes, message', [
    ({'out__loss': KL * 1.00001}, 'out__loss: relative error 1.00e-05 is above 1e-06'),
    ({'grad__loss__student': SLOPE.reshape(1, 2, 1, 1) + 1e-5}, 'grad__loss__student: relative'),
    ({'grad__loss__student': SLOPE}, None),
    ({'grad__loss__student': np.zeros((2, 2))}, 'ours has shape'),
    ({'out__extra': 1.}, 'out__extra: mmkd has no counterpart'),
    ({'grad__other__student': 1.}, 'grad__other__student: mmkd has no counterpart'),
    ({'after__m.queue': 1.}, 'after__m.queue: mmkd has no counterpart'),
    ({'param__m.weight': 1.}, 'recorded weights were not used: m.weight'),
    ({'rng__0_rand': 1.}, 'recorded draw(s) were not used'),
    ({'oops': 1.}, 'unknown kind of array: oops')])
def test_a_wrong_value_fails(tmp_path, capsys, changes, message):
    assert main([str(kd_case(tmp_path, **changes))]) == (1 if message else 0)
    assert (message or '') in capsys.readouterr().err


def dotted_case(folder, **changes):
    shape = (1, 2, 1, 1)
    arrays = {'in.' + key[4:]: np.reshape(value, shape) for key, value in SCORES.items()}
    arrays |= {'out.loss': KL, 'grad.student': np.reshape(SLOPE, shape)}
    return write_dotted(folder, 'kd__by_hand', {'temperature': 1.},
                        {**arrays, **changes}, 'winycg/CIRKD:losses/kd.py')


def test_dotted_names(tmp_path, capsys):
    assert main([str(dotted_case(tmp_path))]) == 0
    assert capsys.readouterr().out.startswith('kd__by_hand ')
    renamed = dotted_case(tmp_path)
    renamed.with_suffix('.npz').rename(tmp_path / 'renamed.npz')
    assert replay(renamed.rename(tmp_path / 'renamed.json'))[0] == 'kd__by_hand'


@pytest.mark.parametrize('changes, message', [
    ({'out.loss': KL * 1.01}, 'out__loss: relative error'),
    ({'grad.student': np.reshape(SLOPE, (1, 2, 1, 1)) * 1.01}, 'grad__loss__student: relative'),
    ({'grad.loss.student': np.zeros((1, 2, 1, 1))}, 'grad__loss__student: relative'),
    ({'mid.map': 1.}, 'mid__map: mmkd has no counterpart'),
    ({'ref.map': 1.}, 'ref__map: mmkd has no counterpart'),
    ({'w.conv.weight': 1.}, 'recorded weights were not used: conv.weight'),
    ({'grad.teacher2': 1.}, 'what is the array grad.teacher2?'),
    ({'gradw.conv': 1.}, 'what is the array gradw.conv?'),
    ({'value': 1.}, 'what is the array value?')])
def test_a_wrong_dotted_value_fails(tmp_path, capsys, changes, message):
    assert main([str(dotted_case(tmp_path, **changes))]) == 1
    assert message in capsys.readouterr().err


def test_a_dotted_array_must_be_described(tmp_path, capsys):
    path = dotted_case(tmp_path)
    info = json.loads(path.read_text())
    del info['arrays']['in.teacher']
    path.write_text(json.dumps(info))
    assert main([str(path)]) == 1
    assert 'the json does not describe in.teacher' in capsys.readouterr().err


def test_values_that_have_no_counterpart_are_declared(tmp_path):
    case = Case(dotted_case(tmp_path, **{'mid.map': 1., 'ref.map': 2.}))
    case.skip('^(mid|ref)__')
    assert set(case.expected) == {'out__loss', 'grad__loss__student'}
    with pytest.raises(CaseError, match='nothing that is compared'):
        case.skip('loss')


def broken(folder, what):
    path = kd_case(folder)
    numbers = path.with_suffix('.npz')
    if what == 'json':
        path.write_text(path.read_text()[:-5])
    elif what == 'npz':
        numbers.write_bytes(numbers.read_bytes()[:-40])
    elif what == 'empty npz':
        numbers.write_bytes(b'')
    elif what == 'no npz':
        numbers.unlink()
    elif what == 'no json':
        path.unlink()
    elif what == 'argument':
        path.write_text(path.read_text().replace('temperature', 'warmth'))
    elif what == 'family':
        path.write_text(path.read_text().replace('kd_7', 'ordinary'))
        path = path.rename(folder / 'unheard_of_7.json')
    elif what == 'loss in json':
        path.write_text(json.dumps(json.loads(path.read_text()) | {'losses': {'loss': 2 * KL}}))
    elif what == 'shape in json':
        described = {'out__loss': {'shape': [2]}}
        path.write_text(json.dumps(json.loads(path.read_text()) | {'arrays': described}))
    return path


@pytest.mark.parametrize('what, message', [
    ('json', 'cannot be read as json'), ('npz', 'cannot be read as npz'),
    ('empty npz', 'cannot be read as npz'), ('no npz', 'cannot be read as npz'),
    ('no json', 'cannot be read as json'), ('argument', 'does not know the official argument'),
    ('family', 'unheard_of_7: no adapter for this family; there are adapters for 2dpass_kl,'),
    ('loss in json', 'one of the files was changed'), ('shape in json', 'the json says [2]')])
def test_a_broken_case_fails_and_the_others_still_run(tmp_path, capsys, what, message):
    (tmp_path / 'good').mkdir()
    good = kd_case(tmp_path / 'good')
    assert main([str(broken(tmp_path, what)), str(good)]) == 1
    printed = capsys.readouterr()
    assert message in printed.err and '1 of 2 case(s) failed' in printed.err
    assert printed.out.startswith('kd_7 ')


def test_a_draw_of_another_shape_fails(tmp_path):
    with pytest.raises(CaseError, match=r'torch.rand of shape \(1, 1, 1, 2\) was called'):
        replay(mgd_case(tmp_path, np.zeros((1, 1, 2, 1)), [1, 1, 1, 1]))


def test_nothing_to_do_is_a_failure(capsys):
    assert main([]) == 1
    assert 'no case given' in capsys.readouterr().err


def test_state_must_be_equal_and_ours_finite():
    assert compare('after__ptr', np.array([3]), np.array([3]), 1.) == (0., False)
    with pytest.raises(CaseError, match='official value'):
        compare('after__ptr', np.array([3]), np.array([4]), 1.)
    with pytest.raises(CaseError, match='not finite'):
        compare('out__loss', np.array(np.nan), np.array(np.nan), 1.)
    with pytest.raises(CaseError, match='expected 0'):
        compare('out__loss', np.array(1.), np.array(np.nan), 1., must_be_zero=True)
    assert compare('grad', np.array([2., 5.]), np.array([2., np.inf]), 1.) == (0., True)
    assert compare('grad', np.array([1e-18]), np.array([0.]), 1e-10)[0] < 1e-6


@pytest.mark.parametrize('name, family', [
    ('kd_12', 'kd'), ('cirkd_memory_3', 'cirkd_memory'), ('kd_ordinary', 'kd'),
    ('cirkd_memory_ordinary', 'cirkd_memory'), ('mgd__ordinary', 'mgd')])
def test_adapter_of_a_case(name, family):
    assert find_adapter(name) == (name, family)
    assert find_adapter('renamed', name) == (name, family)


@pytest.mark.parametrize('name', ['cwd_bev__ordinary', 'cirkdv2_channel_1', 'kd2_1'])
def test_a_family_that_only_begins_alike_has_no_adapter(name):
    with pytest.raises(CaseError, match='no adapter'):
        find_adapter(name)
