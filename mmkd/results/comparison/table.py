"""A comparison's table in Markdown, from what its runs say."""
from ..tables import table
from .statistics import paired_gain, summary

ALONE, TEACHER = 'student alone', 'teacher'


def with_statistics(results):
    """``results`` with ``values``, ``mean``, ``std`` and ``gain`` in each row, from its runs."""
    rows, alone = [], {}
    for row in results['rows']:
        values = values_of(row, results)
        mean, std = summary(list(values.values())) if values else (None, None)
        row = dict(row, values=list(values.values()), mean=mean, std=std)
        if row['model'] == ALONE:
            alone = values
        elif row['model'] != TEACHER:
            gain = paired_gain(values, alone)
            row['gain'] = gain and dict(gain, each=list(gain['each'].values()))
        rows.append(row)
    return dict(results, rows=rows)


def values_of(row, results, metric=None):
    """{seed: the metric (default: that of the table) on the split} of a row's finished runs."""
    metric = metric or results['metric']
    found = {run['seed']: run['metrics'].get(results['split']) for run in row['runs']}
    return {seed: metrics[metric] for seed, metrics in found.items()
            if metrics and metric in metrics}


def comparison_table(results):
    """One row per model."""
    digits, others = _digits(results), results.get('beside') or []
    rows = [[row['model'], _mean(row, digits),
             ', '.join(f'{value:.{digits}f}' for value in row['values']),
             _gain(row.get('gain'), digits),
             *(_mean(_summary_of(row, results, other), digits) for other in others),
             f"{row['parameters']:,}",
             _seconds(row['seconds_per_step']), _memory(row['peak_memory'])]
            for row in with_statistics(results)['rows']]
    header = ['model', f"{short(results['metric'])}, mean ± std", 'each seed',
              'gain (95 % interval)', *(f'{short(other)}, mean ± std' for other in others),
              'parameters', 'seconds per step', 'peak memory']
    return table(header, rows)


def short(metric):
    """A metric's name for people: 'NuScenes metric/pred_instances_3d_NuScenes/NDS' is NDS."""
    return metric.rpartition('/')[2] if metric.count('/') > 1 else metric


def _summary_of(row, results, metric):
    values = list(values_of(row, results, metric).values())
    mean, std = summary(values) if values else (None, None)
    return dict(mean=mean, std=std)


def comparison_page(results):
    """The table with where it comes from."""
    seeds = ', '.join(map(str, results['seeds']))
    several = len(results['seeds']) > 1
    lines = [comparison_table(results), '',
             f"{short(results['metric'])} on the {results['split']} split, "
             + (f"seeds {seeds}; std over the seeds. Gains are over the student alone, paired by "
                "seed; the interval is Student's t." if several else f'seed {seeds}.')
             + f" {results['device']}, torch {results['torch']}, {results['date']}."]
    failed = [f"{row['model']} seed {run['seed']}" for row in results['rows']
              for run in row['runs'] if run['failure']]
    if failed:
        lines += ['', f"Not finished: {', '.join(failed)}."]
    return '\n'.join(lines)


def joint_table(named):
    """Several comparisons of the same recipes beside each other.

    Args:
        named (dict): name -> results, all with the same metric.
    """
    models = dict.fromkeys(row['model'] for results in named.values() for row in results['rows'])
    rows = {name: {row['model']: row for row in with_statistics(results)['rows']}
            for name, results in named.items()}
    header, lines = ['model'], [[model] for model in models]
    for name, results in named.items():
        header += [f"{short(results['metric'])}, {name}", 'gain (95 % interval)']
        digits = _digits(results)
        for line in lines:
            row = rows[name].get(line[0])
            line += ['', ''] if row is None else [_mean(row, digits),
                                                  _gain(row.get('gain'), digits)]
    return table(header, lines)


def _digits(results):
    """Digits after the point: two for metrics in percent, four for those from 0 to 1 (mmdet's)."""
    values = [abs(value) for row in results['rows'] for value in values_of(row, results).values()]
    return 2 if any(value > 1 for value in values) else 4


def _mean(row, digits):
    if row['mean'] is None:
        return 'not finished'
    return f"{row['mean']:.{digits}f}" + (
        f" ± {row['std']:.{digits}f}" if row['std'] is not None else ' (one run)')


def _gain(gain, digits):
    if gain is None:
        return ''
    mean = f"{gain['mean']:+.{digits}f}"
    if gain['half_width'] is None:
        return f'{mean} (n = 1)'
    low, high = (gain['mean'] + sign * gain['half_width'] for sign in (-1, 1))
    return f"{mean} ({low:+.{digits}f} to {high:+.{digits}f}, n = {gain['n']})"


def _seconds(value):
    return '' if value is None else f'{value:.3f}'


def _memory(value):
    return '' if value is None else f'{value / 2 ** 20:,.0f} MiB'
