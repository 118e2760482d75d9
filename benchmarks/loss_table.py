"""The report of ``benchmarks/losses.py`` as Markdown, with the targets."""

# name: (time ratio, memory ratio, memory in MiB)
TARGETS = {
    'KD 19ch': (0.35, None, None),
    'CWD 512ch': (0.2, None, None),
    'CIRKD mini-batch': (0.6, None, 160),
    'CIRKD memory': (0.5, 0.15, None),
}
ERROR_TARGET = 1.5  # times the dense formulation's own error


def verdict(value, target, unit=''):
    """'<target> met' or '<target> MISSED', or nothing where there is no target."""
    if target is None:
        return ''
    return f'{target}{unit} {"met" if value <= target else "MISSED"}'


def row(name, r, judge):
    """One line of the table."""
    time_target, ratio_target, mib_target = TARGETS.get(name, (None,) * 3)
    if not judge:
        time_target = ratio_target = mib_target = None
    time, memory, error = r['time'], r['memory'], r['gradient_error']
    cells = [f'{name} {r["size"]}', f'{time["ours_ms"]:.1f} / {time["dense_ms"]:.1f}',
             f'{time["ratio"]:.3f}', verdict(time['ratio'], time_target)]
    if judge:
        cells += [f'{memory["ours_mib"]:.1f} / {memory["dense_mib"]:.1f}',
                  f'{memory["ratio"]:.3f}',
                  verdict(memory['ratio'], ratio_target)
                  + verdict(memory['ours_mib'], mib_target, ' MiB')]
    else:  # tiny sizes in a shared process: it ran, the figures say nothing
        cells += ['', '', '']
    cells += [f'{error["ours"]:.1e} / {error["dense"]:.1e}',
              verdict(error['ours'] / error['dense'], ERROR_TARGET, ' x')]
    return '| ' + ' | '.join(cells) + ' |'


def render(report):
    """The whole report."""
    lines = [
        *(f'- {key}: {report[key]}' for key in ('command', 'date', 'device', 'torch')),
        '- times: medians of forward + backward, one thread, float32; time ratio: median of '
        'the paired ratios',
        '- gradient error: relative L2 to the dense float64 gradient (CIRKD at 32x64)', '',
        '| loss, NxCxHxW | ms ours / dense | time ratio | target | peak MiB ours / dense '
        '| memory ratio | target | gradient error ours / dense | target |',
        '|---|---|---|---|---|---|---|---|---|',
        *(row(name, r, not report['quick']) for name, r in report['cases'].items())]
    if report['growth']:
        lines += ['', f'### Peak memory over sizes, {report["growth_case"]}', '',
                  '| NxHxW | pixels | ours MiB | dense MiB | ours KiB per pixel |',
                  '|---|---|---|---|---|']
    for g in report['growth']:
        lines.append(f'| {g["size"]} | {g["pixels"]} | {g["ours_mib"]:.1f} '
                     f'| {g["dense_mib"]:.1f} | {g["ours_mib"] * 1024 / g["pixels"]:.1f} |')
    return '\n'.join(lines) + '\n'
