"""The report of ``benchmarks/ops.py`` as Markdown, with the targets."""


def verdict(value, target):
    """'0.04 met', '0.04 MISSED' or nothing where there is no target."""
    if target is None or value is None:
        return ''
    return f'{target:g} {"met" if value <= target else "MISSED"}'


def number(value, form):
    return '' if value is None else format(value, form)


def row(case):
    """One line of the first table."""
    ratio = case.get('theirs_ratio')
    cells = [case['name'], case['size'], case['baseline'] if ratio is not None else 'none',
             f"{case['ours_ms']:.2f} / {number(case.get('theirs_ms'), '.2f') or '-'}",
             number(ratio, '.4f'), verdict(ratio, case['target']),
             number(case.get('copy_new_ratio'), '.2f'),
             verdict(case.get('copy_new_ratio'), case['memcpy_target']),
             number(case.get('copy_old_ratio'), '.2f')]
    return '| ' + ' | '.join(cells) + ' |'


def growth_rows(cases):
    """One line for each operator, and what it is compared with, at several sizes."""
    rows = list(dict.fromkeys((case['name'], case['baseline']) for case in cases))
    for row_of in rows:
        sizes = {case['scale']: case for case in cases
                 if (case['name'], case['baseline']) == row_of}
        if len(sizes) < 2 or 1 not in sizes:
            continue
        cells = list(row_of)
        for scale in (4, 16):
            case = sizes.get(scale)
            if case is None:
                cells += ['', '']
                continue
            grown = case['ours_ms'] / sizes[1]['ours_ms']
            theirs = 'out of memory' if case.get('theirs_failed') \
                else number(case.get('theirs_ratio'), '.4f')
            cells += [f'{case["ours_ms"]:.1f} ({grown:.1f} x)', theirs]
        yield '| ' + ' | '.join(cells) + ' |'


def render(report):
    """The whole report."""
    device = report['device'] + (f", CUDA {report['cuda']}" if report['cuda'] else '')
    lines = [
        *(f'- {key}: {value}' for key, value in (
            ('command', report['command']), ('date', report['date']), ('device', device),
            ('torch', report['torch']))),
        *(f'- rows measured again: {command}' for command in report.get('again', ())),
        '- ms: medians; ratio ours / theirs: median of the paired ratios; x copy: ours / a copy of '
        'as many bytes as must be read and written, into a new tensor and into an old one', '',
        '| operator | size | compared with | ms ours / theirs | ratio | target | x copy (new) '
        '| target | x copy (old) |',
        '|---|---|---|---|---|---|---|---|---|',
        *(row(case) for case in report['cases'] if case['scale'] == 1)]
    growth = list(growth_rows(report['cases']))
    if growth:
        lines += ['', '### Growth with the number of points', '',
                  '| operator | compared with | ms at 4 x the points | ratio to theirs '
                  '| ms at 16 x the points | ratio to theirs |',
                  '|---|---|---|---|---|---|', *growth]
    return '\n'.join(lines) + '\n'
