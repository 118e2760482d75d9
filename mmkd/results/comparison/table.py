"""A comparison's table in Markdown."""
from ..tables import table


def comparison_table(results):
    """One row per model, and a line that says what is in them."""
    rows = [[row['model'], _mean(row), ', '.join(f'{value:.2f}' for value in row['values']),
             _gain(row.get('gain')), f"{row['parameters']:,}", _seconds(row['seconds_per_step']),
             _memory(row['peak_memory'])] for row in results['rows']]
    header = ['model', f"{results['metric']}, mean ± std", 'each seed', 'gain (95 % interval)',
              'parameters', 'seconds per step', 'peak memory']
    return table(header, rows)


def comparison_page(results):
    """The table with where it comes from."""
    seeds = ', '.join(map(str, results['seeds']))
    lines = [comparison_table(results), '',
             f"{results['metric']} on the {results['split']} split; std and interval over the "
             f"seeds {seeds} (n = {len(results['seeds'])}). Gains are over the student alone, "
             "paired by seed; the interval is Student's t. "
             f"{results['device']}, torch {results['torch']}, {results['date']}."]
    failed = [f"{row['model']} seed {run['seed']}" for row in results['rows']
              for run in row['runs'] if run['failure']]
    if failed:
        lines += ['', f"Not finished: {', '.join(failed)}."]
    return '\n'.join(lines)


def _mean(row):
    if row['mean'] is None:
        return 'not finished'
    return f"{row['mean']:.2f}" + (f" ± {row['std']:.2f}" if row['std'] is not None
                                   else ' (one run)')


def _gain(gain):
    if gain is None:
        return ''
    if gain['half_width'] is None:
        return f"{gain['mean']:+.2f} (n = 1)"
    low, high = (gain['mean'] + sign * gain['half_width'] for sign in (-1, 1))
    return f"{gain['mean']:+.2f} ({low:+.2f} to {high:+.2f}, n = {gain['n']})"


def _seconds(value):
    return '' if value is None else f'{value:.3f}'


def _memory(value):
    return '' if value is None else f'{value / 2 ** 20:,.0f} MiB'
