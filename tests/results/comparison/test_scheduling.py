"""As many runs at a time as fit, each in its turn, and failures that stop nothing else."""
import os
import signal
import subprocess
import time

import pytest

from mmkd.results.comparison import machine
from mmkd.results.comparison.scheduling import Scheduler
from tests.results.comparison.common import FakeRun, most_at_a_time, schedule

NAP = 'import time; time.sleep(0.4)'
GIB = 2 ** 30


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(machine, 'cores', lambda: 4)
    monkeypatch.setattr(machine, 'gpus', lambda: [])
    monkeypatch.setattr(machine, 'available_memory', lambda: 100 * GIB)


def runs_of(tmp_path, count, *codes, **options):
    return [FakeRun(tmp_path, f'run{i}_', *(codes or [NAP]), **options) for i in range(count)]


def test_everything_runs_in_order_and_once(tmp_path):
    runs = runs_of(tmp_path, 3, 'print(1)', 'print(2)')
    failed, lines = schedule(runs, jobs=1)
    assert failed == [] and most_at_a_time(runs) == 1
    assert [run.codes for run in runs] == [[0, 0]] * 3
    begun = [began for run in runs for began, _ in run.times]
    assert begun == sorted(begun)
    assert (tmp_path / 'run1_1.log').read_text() == '2\n'
    assert [line for line in lines if 'done' in line] == [f'run{i}_: done' for i in range(3)]


@pytest.mark.parametrize('jobs, threads', [(1, 4), (2, 2), (3, 1)])
def test_jobs_are_at_a_time_and_share_the_cores(tmp_path, jobs, threads):
    runs = runs_of(tmp_path, 4)
    schedule(runs, jobs=jobs)
    assert most_at_a_time(runs) == jobs
    assert {count for run in runs for count in run.given_threads} == {threads}


def test_the_processes_are_told_their_threads_and_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, 'gpus', lambda: ['3', 'GPU-a'])
    code = ('import os, time; time.sleep(0.3); print(os.environ["OMP_NUM_THREADS"], '
            'os.environ["OMP_WAIT_POLICY"], os.environ["CUDA_VISIBLE_DEVICES"])')
    schedule(runs_of(tmp_path, 3, code, peak_memory=1))
    said = [(tmp_path / f'run{i}_0.log').read_text().split() for i in range(3)]
    assert {tuple(words[:2]) for words in said} == {('2', 'PASSIVE')}
    assert {words[2] for words in said[:2]} == {'3', 'GPU-a'}


def test_a_resumed_run_keeps_its_threads(tmp_path):
    runs = [FakeRun(tmp_path, 'a', NAP, threads=3), FakeRun(tmp_path, 'b', NAP)]
    schedule(runs, jobs=2)
    assert [run.given_threads for run in runs] == [[3], [2]]


# ---- memory -----------------------------------------------------------------------------------
@pytest.mark.parametrize('free, at_a_time', [(1.5, 1), (2.5, 2), (100, 3)])
def test_memory_limits_how_many(tmp_path, monkeypatch, free, at_a_time):
    """Runs are known to need 1 GiB; those that run hold nothing yet, so it is promised to them."""
    monkeypatch.setattr(machine, 'available_memory', lambda: free * GIB)
    monkeypatch.setattr(machine, 'resident_memory', lambda pid: 0)
    runs = runs_of(tmp_path, 3, peak_memory=GIB)
    schedule(runs)
    assert most_at_a_time(runs) == at_a_time


def test_the_second_waits_until_the_first_shows_what_it_needs(tmp_path):
    runs = runs_of(tmp_path, 3)
    schedule(runs)  # a FakeRun shows nothing before it ends
    assert most_at_a_time(runs) == 2
    assert runs[1].times[0][0] >= runs[0].times[0][1]


def test_jobs_says_how_many_whatever_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, 'available_memory', lambda: 0)
    runs = runs_of(tmp_path, 3, peak_memory=GIB)
    schedule(runs, jobs=3)
    assert most_at_a_time(runs) == 3


def test_the_machine_knows_itself():
    assert machine.device()
    resident = machine.resident_memory(os.getpid())
    assert resident == 0 or 2 ** 20 < resident < 2 ** 45
    assert machine.resident_memory(2 ** 30) == 0


# ---- what others need -------------------------------------------------------------------------
def test_who_needs_another_waits_and_it_has_all_cores(tmp_path):
    teacher = FakeRun(tmp_path, 'teacher', NAP, 'print()')
    students = runs_of(tmp_path, 2, needs=teacher, peak_memory=1)
    schedule([teacher, *students])
    assert teacher.given_threads == [4, 4] and students[0].given_threads == [1]
    assert min(run.times[0][0] for run in students) >= teacher.times[-1][1]


def test_one_failure_stops_only_what_needs_it(tmp_path):
    teacher = FakeRun(tmp_path, 'teacher', 'raise SystemExit(3)', 'print()')
    taught, alone = (FakeRun(tmp_path, 'taught', 'print()', needs=teacher),
                     FakeRun(tmp_path, 'alone', 'print()'))
    failed, lines = schedule([teacher, taught, alone], jobs=1)
    assert failed == [teacher, taught] and alone.codes == [0]
    assert teacher.codes == [3] and taught.codes == []
    assert taught.failure == 'not started: teacher failed'
    assert any(line.startswith('teacher: failed') for line in lines)


# ---- ends -------------------------------------------------------------------------------------
def test_an_interruption_ends_the_processes(tmp_path, monkeypatch):
    runs = runs_of(tmp_path, 2, 'import time; time.sleep(60)')
    scheduler = Scheduler(runs, jobs=2, say=lambda line: None, poll=0.02)
    pids = []

    def interrupt():
        pids.extend(process.popen.pid for process in scheduler.running)
        raise KeyboardInterrupt

    monkeypatch.setattr(scheduler.progress, 'show', interrupt)
    began = time.time()
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    assert time.time() - began < 15 and len(pids) == 2
    assert [run.codes for run in runs] == [[-signal.SIGTERM]] * 2
    for pid in pids:
        assert subprocess.run(['kill', '-0', str(pid)], capture_output=True).returncode != 0


def test_the_time_left_follows_from_what_was_measured(tmp_path):
    runs = runs_of(tmp_path, 4)
    scheduler = Scheduler(runs, jobs=2, say=lambda line: None)
    assert scheduler.progress.left() is None
    scheduler.progress.rates = {'run0_': 10., 'run1_': 20.}
    # 4 units each, 10 + 20 + 20 + 20 seconds a unit (unknown: as the slowest), two at a time
    assert scheduler.progress.left() == 4 * (10 + 20 + 20 + 20) / 2
