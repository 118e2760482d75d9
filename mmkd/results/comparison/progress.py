"""How far a comparison is, in one line, with the time left."""
import sys
import time

#: seconds between two lines
EVERY, EVERY_IN_A_FILE = 10, 60


def clock(seconds):
    """Seconds as h:mm:ss or m:ss."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


class Progress:
    """Says now and then what runs, how far it is and how long the rest takes."""

    def __init__(self, scheduler, say):
        self.scheduler, self.say = scheduler, say
        self.began = time.time()
        self.rates = {}  # run's name -> seconds of one unit of its length, measured
        self.every = EVERY if sys.stdout.isatty() else EVERY_IN_A_FILE
        self.shown = self.began + EVERY - self.every  # the first line soon, in a file too

    def ended(self, process, seconds):
        """A process has ended: what it took is known."""
        self._note(process, seconds, process.run.done())

    def _note(self, process, seconds, done):
        if process.step.name == 'train' and done > process.done_before:
            self.rates[process.run.name] = seconds / (done - process.done_before)

    def show(self):
        """Say a line, if the last was some time ago."""
        now = time.time()
        if now - self.shown < self.every or not self.scheduler.running:
            return
        self.shown, parts = now, []
        for process in self.scheduler.running:
            run, done = process.run, process.run.done()
            self._note(process, now - process.began, done)
            parts.append(f'{run.title} {done}/{run.length}' if process.step.name == 'train'
                         else f'{run.title} evaluated on {process.step.name}')
        waiting = len(self.scheduler.waiting)
        left = self.left()
        self.say(f'{clock(now - self.began)}, '
                 + (f'about {clock(left)} left' if left is not None else 'time left not known yet')
                 + f': {", ".join(parts)}' + (f'; {waiting} waiting' if waiting else ''))

    def left(self):
        """Seconds until everything is done, or None before any training has shown its speed.

        What has not run yet is taken to be as slow as the slowest that has.
        """
        if not self.rates:
            return None
        slowest = max(self.rates.values())

        def rest(run):
            return (run.length - run.done()) * self.rates.get(run.name, slowest)

        scheduler = self.scheduler
        first = [process.run for process in scheduler.running
                 if any(run.needs is process.run for run in scheduler.waiting)]
        others = [run for run in scheduler.waiting
                  + [process.run for process in scheduler.running] if run not in first]
        rests = [rest(run) for run in others] or [0.]
        return sum(map(rest, first)) + max(sum(rests) / scheduler.slots, max(rests))
