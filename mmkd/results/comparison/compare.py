"""A whole comparison: runs, results, table, pictures."""
import json
import os
import time

from ..metafiles import write_if_changed
from . import pictures
from .outcomes import outcome
from .plan import only_one
from .progress import clock
from .scheduling import Scheduler
from .table import comparison_page


def run_comparison(plan, jobs=None, command=(), rows=4, say=print):
    """Train what is not trained yet, and write the results into the plan's folder.

    ``comparison.json``, ``comparison.md``, ``curves.png``, ``predictions.png`` and, for models with
    maps seen from above, ``features.png``.

    Args:
        plan (Plan): What to compare.
        jobs (int, optional): How many at a time; default: as many as fit.
        command (list[str]): What was typed, for the results.
        rows (int): Rows of the last two; with 0 there are none.
        say: What is called with each line of progress.

    Returns:
        dict: What is in ``comparison.json``.

    Raises:
        ValueError: Runs failed. What there is has been written.
    """
    began = time.time()
    with only_one(plan.out) as lock:
        scheduler = Scheduler(plan.runs, jobs, keep_open=(lock,), say=say)
        say(f'{len(plan.runs)} runs in {plan.out}, {scheduler.slots} at a time')
        try:
            failed = scheduler.run()
        except KeyboardInterrupt:
            say('\ninterrupted. What is finished is kept; the same command goes on from the '
                'latest checkpoints')
            raise
        results = outcome(plan, command)
        results['seconds'] = round(time.time() - began)
        _write(plan.out, 'comparison.json', json.dumps(results, indent=1))
        _write(plan.out, 'comparison.md', comparison_page(results))
        drawn = _draw(plan, results, rows, say)
        say(f'\n{comparison_page(results)}\n\nresults: {plan.out}/comparison.md, comparison.json\n'
            f'pictures: {", ".join(drawn) or "none"}\ntotal: {clock(time.time() - began)}')
    if failed:
        raise ValueError('\n\n'.join(f'{run.title}: {run.failure}' for run in failed))
    return results


def _draw(plan, results, rows, say):
    """Write the pictures. One that can't be drawn is told, and costs no result."""
    drawn = []
    for name, draw in (('curves.png', lambda: pictures.curves(plan, results)),
                       ('predictions.png', lambda: rows and pictures.predictions(plan, rows)),
                       ('features.png', lambda: rows and pictures.features(plan, rows))):
        try:
            path = draw()
        except Exception as error:
            say(f'{name} is not drawn: {type(error).__name__}: {error}')
        else:
            drawn += [path] if path else []
    return drawn


def _write(folder, name, text):
    write_if_changed(os.path.join(folder, name), text + '\n')
