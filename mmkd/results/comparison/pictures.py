"""The pictures of a comparison: learning curves, predictions and features side by side."""
import os

from ...visualization import draw_curves, draw_features, draw_predictions
from . import readings
from .table import short


def curves(plan, results):
    """Write ``curves.png``; returns its path, or None if nothing was logged."""
    metric, panels = results['metric'], {}
    # An unfinished seed would cut the mean of the others off.
    students = {title: [run for run in runs if run.trained]
                for title, runs in plan.rows().items() if title != 'teacher'}
    on_val = f'{short(metric)} (validation)'
    panels[on_val] = {title: [_metric_by_step(run, metric) for run in runs]
                      for title, runs in students.items()}
    panels['total loss, of all terms that train the model'] = {
        title: [_loss_by_step(run) for run in runs] for title, runs in students.items()}
    teacher = (plan.teacher.metrics('val') or {}).get(metric)
    return draw_curves(os.path.join(plan.out, 'curves.png'), panels,
                       {on_val: {} if teacher is None else {'teacher': teacher}},
                       f"mean and standard deviation over {len(plan.args.seeds)} seeds"
                       if len(plan.args.seeds) > 1 else None)


def _loss_by_step(run):
    return {record['step']: record['loss'] for record in readings.training_records(run.folder)
            if record.get('loss') is not None}


def _metric_by_step(run, metric):
    """{iteration: metric} of the validations; an evaluation that counts epochs is put at their
    end."""
    trained = run.trained or {}
    epochs, iterations = trained.get('epochs'), trained.get('iterations')
    found = {}
    for record in readings.evaluation_records(run.folder):
        if metric in record:
            step = record['step']
            if epochs and iterations and step <= epochs:
                step = round(step * iterations / epochs)
            found[step] = record[metric]
    return found


def predictions(plan, pictures):
    """Write ``predictions.png`` of each model's first finished seed; returns its path."""
    return draw_predictions(os.path.join(plan.out, 'predictions.png'), plan.alone[0].evaluated,
                            _models(plan), plan.args.split, pictures)


def features(plan, pictures):
    """Write ``features.png`` likewise, for models with maps seen from above; returns its path, or
    None for others."""
    return draw_features(os.path.join(plan.out, 'features.png'), plan.alone[0].evaluated,
                         _models(plan), plan.args.split, pictures)


def _models(plan):
    """{title: (config, checkpoint)} of each row's first finished seed."""
    found = {}
    for title, runs in plan.rows().items():
        run = next((run for run in runs if run.checkpoint is not None), None)
        if run is not None:
            found[title] = (run.evaluated, run.checkpoint)
    return found
