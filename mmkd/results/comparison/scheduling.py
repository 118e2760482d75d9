"""Runs in their own processes, as many at a time as fit the machine."""
import os
import subprocess
import time
from dataclasses import dataclass

from . import machine
from .progress import Progress


@dataclass
class Process:
    """One step of a run, being done."""
    run: object
    step: object
    slot: int
    popen: subprocess.Popen
    began: float
    done_before: float

    def ended(self):
        """(exit code, peak memory in bytes) once it has ended, else None."""
        pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
        if pid == 0:
            return None
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        return self.popen.returncode, usage.ru_maxrss * 1024


class Scheduler:
    """Does the steps of runs, several runs at a time.

    A run that fails is left, with those that need it; the others go on. How many at a time: one
    per GPU or, without one, per core, as far as memory allows: the next run starts when one of
    the running has shown in its first steps (or an earlier session has) what a run needs, and
    that much is free. Cores are shared out evenly; on a CPU, what others need runs alone.

    Args:
        runs (list): In the order in which they are to start. Each has ``title``, ``needs`` (a
            run or None), ``failure``, ``threads``, ``length``, ``done()``, ``peak_memory``,
            ``next_step()``, ``began(step, threads)`` and
            ``ended(step, code, seconds, peak_memory)``.
        jobs (int, optional): How many at a time, whatever the memory.
        keep_open (tuple): File descriptors that the processes inherit.
        say: What is called with each line of progress.
        poll (float): Seconds between two looks at the processes.
    """

    def __init__(self, runs, jobs=None, keep_open=(), say=print, poll=0.5):
        self.runs, self.say, self.poll, self.keep_open = runs, say, poll, keep_open
        self.gpus = machine.gpus()
        self.limited = jobs is None
        # Of all runs, done or not: a run that is resumed gets as many threads as before.
        self.slots = jobs or max(min(len(self.gpus) or machine.cores(), len(runs)), 1)
        self.threads = max(machine.cores() // self.slots, 1)
        self.waiting, self.running, self.peaks = list(runs), [], []
        self.progress = Progress(self, say)

    def run(self):
        """Do everything there is to do; returns the runs that failed."""
        try:
            while self.waiting or self.running:
                self._start()
                self.progress.show()
                time.sleep(self.poll if self.running else 0)
                self._collect()
        finally:
            self._stop()
        return [run for run in self.runs if run.failure]

    # ---- starting ---------------------------------------------------------------------------
    def _start(self):
        for run in list(self.waiting):
            if any(self._takes_all(process.run) for process in self.running):
                return
            if run.needs is not None and run.needs.failure:
                run.failure = f'not started: {run.needs.title} failed'
                self.waiting.remove(run)
            elif run.needs is None or run.needs not in self.waiting + self._busy():
                step = run.next_step()
                if step is None:
                    self.waiting.remove(run)
                elif self._fits():
                    self.waiting.remove(run)
                    self._launch(run, step, self._free_slot())

    def _takes_all(self, run):
        """On a CPU, what the others wait for runs alone, on all cores."""
        return self.limited and not self.gpus and any(other.needs is run for other in self.runs)

    def _busy(self):
        return [process.run for process in self.running]

    def _free_slot(self):
        taken = {process.slot for process in self.running}
        return next(slot for slot in range(self.slots) if slot not in taken)

    def _fits(self):
        if len(self.running) >= self.slots:
            return False
        free = machine.available_memory()
        if not self.running or not self.limited or free is None:
            return True
        peaks = self.peaks + [run.peak_memory for run in self.runs if run.peak_memory]
        now = [machine.resident_memory(process.popen.pid) for process in self.running]
        peaks += [memory for memory, process in zip(now, self.running, strict=True)
                  if process.run.done() > process.done_before]
        if not peaks:
            return False
        need = 1.1 * max(peaks)
        promised = sum(max(need - memory, 0) for memory in now)
        return free - promised > need

    def _launch(self, run, step, slot):
        # A run goes on with the threads that it began with.
        threads = run.threads or (machine.cores() if self._takes_all(run) else self.threads)
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads),
                   OMP_WAIT_POLICY='PASSIVE')  # idle threads must not spin on a busy machine
        if self.gpus:
            env['CUDA_VISIBLE_DEVICES'] = self.gpus[slot % len(self.gpus)]
        run.began(step, threads)
        done = run.done()
        with open(step.log, 'a') as log:
            popen = subprocess.Popen(step.command, stdout=log, stderr=subprocess.STDOUT, env=env,
                                     stdin=subprocess.DEVNULL, pass_fds=self.keep_open)
        self.running.append(Process(run, step, slot, popen, time.time(), done))

    # ---- ending -----------------------------------------------------------------------------
    def _collect(self):
        for process in list(self.running):
            result = process.ended()
            if result is None:
                continue
            self.running.remove(process)
            run, step, seconds = process.run, process.step, time.time() - process.began
            self.progress.ended(process, seconds)
            run.ended(step, result[0], seconds, result[1])
            if result[0] == 0:
                self.peaks.append(result[1])
            following = None if run.failure else run.next_step()
            if following is not None and following.name == step.name:
                run.failure = f'{step.name} ended without its result; see {step.log}'
            elif following is not None:
                self._launch(run, following, process.slot)
                continue
            self.say(f'{run.title}: ' + (f'failed, see {step.log}' if run.failure else 'done'))

    def _stop(self):
        """End what still runs: an error or Ctrl-C came."""
        for process in self.running:
            process.popen.terminate()
        end = time.time() + 10
        for process in self.running:
            while process.ended() is None:
                if time.time() > end:
                    process.popen.kill()
                time.sleep(0.05)
            process.run.ended(process.step, process.popen.returncode,
                              time.time() - process.began, None)
