"""What the check of the operators on a GPU makes of what its steps print."""
import sys
import time

import pytest

from tools.dev import check_ops_on_gpu as check

OURS = '''========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 4 bytes
=========     at void mmkd::for_each_kernel<mmkd::VoxelCoors>(long, T1)+0x2d0
=========     by thread (0,0,0) in block (0,0,0)
=========     Address 0x7f1d3e000000
=========
'''
OTHERS = OURS.replace('mmkd', 'at::native')
HOST = '''========= Host API uninitialized memory access on access by cudaMemcpyAsync source
=========     Saved host backtrace up to driver entry point at error
=========         Host Frame: cudaMemcpyAsync in /home/user/.cache/mmkd/ops/mmkd_ops_cuda_0_1.so
=========
'''
PASSED = '..                    [100%]\n23 passed, 1 skipped, 4 deselected in 3.20s\n'


def judged(name, code, log):
    return check.judge(check.Step(name, [], 1), code, log)


def test_reports_are_ours_where_they_name_a_kernel_or_the_library_of_ours():
    assert check.findings(PASSED + '========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors'
                          '\n') == (0, 0)
    every = OURS + OURS + OTHERS + HOST + '========= ERROR SUMMARY: 4 errors\n'
    assert check.findings(every) == (3, 1)
    called_by_us = OTHERS + '=========         Host Frame: mmkd::knn() in mmkd_ops_cuda_1.so\n'
    assert check.findings(called_by_us) == (0, 1)
    race = '========= Error: Race reported between Write access at void mmkd::k()+0x10\n'
    assert check.findings(race + '========= RACECHECK SUMMARY: 1 hazard displayed\n') == (1, 0)


@pytest.mark.parametrize('name, code, log, good, words', [
    ('tests', 0, PASSED, True, '23 passed, 1 skipped, 4 deselected'),
    ('tests', 0, '===== 23 passed in 9.99s (0:00:10) =====\n', True, '23 passed'),
    ('tests', 1, '1 failed, 22 passed in 3.20s\n', False, '1 failed, 22 passed; exit code 1'),
    ('tests', 'not done after 1 s', '', False, 'not done after 1 s'),
    ('memcheck', 0, PASSED, True, '0 reports'),
    ('memcheck', check.FOUND, OURS + PASSED, False, '1 reports; exit code 66'),
    ('initcheck', 0, OTHERS + PASSED, True, "0 reports; 1 of others' kernels"),
    ('initcheck', 0, OURS + PASSED, False, '1 reports'),
    ('racecheck', 0, '5 deselected in 0.1s\n', False, '0 reports'),  # nothing ran
    ('racecheck', 0, '', False, '0 reports'),
    ('build-cuda', 0, 'x.cu(3): warning #177-D: unused\n/cache/x.so\n', False, '1 warnings'),
    ('build-cuda', 0, '/cache/x.so\n', True, 'done'),
])
def test_what_a_step_comes_to(name, code, log, good, words):
    outcome = judged(name, code, log)
    assert outcome[0] is good and words in outcome[1]


def test_steps_run_together_within_their_limits(tmp_path, capsys):
    def step(name, code, limit=60):
        return check.Step(name, [sys.executable, '-c', code], limit, {'SAID': 'heard'})

    left_behind = tmp_path / 'alive'
    late = ('import subprocess, sys, time; subprocess.Popen([sys.executable, "-c", '
            f'"import time; time.sleep(3); open({str(left_behind)!r}, \'w\')"]); time.sleep(60)')
    start = time.time()
    outcomes = check.run_together([step('one', 'import os; print(os.environ["SAID"])'),
                                   step('two', 'raise SystemExit("why")'),
                                   step('three', late, 1)], tmp_path)
    assert time.time() - start < 30
    assert [o.good for o in outcomes] == [True, False, False]
    assert (tmp_path / 'one.log').read_text() == 'heard\n'
    printed = capsys.readouterr().out
    assert 'why' in printed and 'not done after 1 s' in outcomes[2].result
    text = check.summary(['A card'], [*outcomes, check.Outcome('memcheck', None, 'no tool', 0.)])
    assert '- A card' in text and '| two | **failed** | exit code 1 |' in text
    assert '| memcheck | not run | no tool | 0 |' in text
    time.sleep(3)
    assert not left_behind.exists()  # what a step has started ends with it


@pytest.mark.parametrize('options, kernels', [
    ('--kernel-name arg  --kernel-name-exclude', '--kernel-name'), ('--kernel-regex arg',
                                                                    '--kernel-regex')])
def test_only_initcheck_watches_the_kernels_of_others(options, kernels):
    for tool in check.SANITIZERS:
        command = check.sanitizer_step(tool, 'compute-sanitizer', options).command
        assert command[:3] == ['compute-sanitizer', '--tool', tool]
        filtered = kernels in command and command[command.index(kernels) + 1] == 'kns=mmkd'
        assert filtered == ('--error-exitcode' in command) == (tool != 'initcheck')


def test_what_the_sanitizers_run_is_there():
    assert all((check.ROOT / path).exists() for path in check.SANITIZED)


def test_only_what_is_wanted_runs(tmp_path):
    groups = check.groups(['build-cpu', 'tests', 'racecheck'], tmp_path, None)
    assert [[step.name for step in group] for group in groups] == [['build-cpu'], ['tests'], []]
    assert check.run_together([], tmp_path) == []
