"""The report of ``benchmarks/bev_step.py`` as Markdown, with the targets."""
from bev_parts import PARTS
from loss_table import verdict

SHARE_TARGET = 3  # per cent of the distilled step
#: at most so much of the volume's time and of its peak memory
VIEW_TARGETS = dict(time=0.5, memory=0.4)


def step_row(row):
    """One recipe."""
    times = [f'{row["seconds"][key]:.3g}' for key in ('student', 'teacher', 'distilled')]
    parts = [f'{1000 * row["parts"][kind]:.1f}' for kind in PARTS]
    share = 100 * row['share']
    cells = [row['name'], str(row['rounds']), *times, f'{row["step"]:.3f}', *parts,
             f'{share:.2f} %', verdict(share, SHARE_TARGET, ' %')]
    return f"| {' | '.join(cells)} |"


def view_rows(view):
    """Time and memory of the view transformer; no targets for what --quick measures."""
    cells = dict(time=[f'{view["ms"][name]:.1f}' for name in ('ours', 'volume')])
    if view['mib']:
        cells['memory'] = [f'{view["mib"][name]:.1f}' for name in ('ours', 'volume')]
    named = dict(time='forward + backward, ms', memory='peak memory, MiB')
    for key, (ours, volume) in cells.items():
        target = verdict(view[key], VIEW_TARGETS[key]) if view['mib'] else ''
        yield f'| {named[key]} | {ours} | {volume} | {view[key]:.3f} | {target} |'


def render(report):
    """The whole report."""
    device = report['device'] + (f", CUDA {report['cuda']}" if report.get('cuda') else '')
    lines = [
        *(f'- {key}: {value}' for key, value in (
            ('command', report['command']), ('date', report['date']), ('device', device),
            ('torch', report['torch']))),
        *(f'- rows measured again: {command}' for command in report.get('again', ())),
        f'- a batch: {report["samples"]} x (six images of {" x ".join(map(str, report["images"]))}'
        f', {report["points"]:,} points, {report["boxes"]} boxes); medians over the rounds']
    if report['load']:
        lines.append(f'- the machine did other work, too: load average {report["load"]:.1f}')
    if report['steps']:
        kinds = ' | '.join(f'{kind}, ms' for kind in PARTS)
        lines += ['', '| recipe | rounds | student step, s | needed teacher, s | distilled step, '
                  f's | distilled / (student + needed teacher) | {kinds} | their part of the step '
                  '| target |', '|---' * (8 + len(PARTS)) + '|', *map(step_row, report['steps'])]
    if report['view']:
        view = report['view']
        lines += ['', f'### The view transformer, {" x ".join(map(str, view["size"]))}', '',
                  '| measured | ours | volume + index_add | ratio | target |',
                  '|---|---|---|---|---|', *view_rows(view), '',
                  'Map and gradients of both differ by at most '
                  f'{view["difference_float32"]:.1e} (relative, L2) in float32 and by '
                  f'{view["difference"]:.1e} in float64.']
    return '\n'.join(lines) + '\n'
