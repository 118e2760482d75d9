"""What was measured of a distillation's terms, as a page of Markdown."""
import glob
import json
import os

from .tables import table

WEIGHTS = 'weights'  # the folder beside a comparison's metafile, and the marker in its README


def term_weights(stages):
    """The page of what :func:`mmkd.apis.weighing.weigh` gives: one section per stage."""
    return '\n\n'.join(section(stage) for stage in stages) + '\n'


def section(stage):
    """Tables of one stage: every term against the reference, also by part of the student."""
    rows, reference = stage['rows'], stage['reference']
    norm = rows[reference]['gradient']
    header = ['Loss', 'Weight', 'Value', 'Weighted', 'Gradient ratio', 'Cosine',
              f"Weight for ratio {stage['ratio']:g}"]
    body = [[name, *_cells(name, row, reference)] for name, row in rows.items()]
    lines = [
        f"## {stage['stage'][0].upper()}{stage['stage'][1:]}", '',
        f"{stage['batches']} batches of the training data, seed {stage['seed']}, mean ± std. "
        f'Ratio and cosine: gradient of the weighted loss at the student\'s parameters against '
        f"that of {reference!r} (norm {_text(norm)}).", '', table(header, body)]
    groups = list(rows[reference]['groups'])
    parts = [[name, *(_text(row['groups'].get(group)) for group in groups)]
             for name, row in rows.items() if name != reference and row['groups']]
    if parts:
        lines += ['', 'Gradient ratio by part of the student:', '',
                  table(['Loss', *groups], parts)]
    options = [f"model.distillations.{name}.weight={row['suggested']:.3g}"
               for name, row in rows.items() if row['suggested'] is not None]
    if options:
        lines += ['', f"For ratio {stage['ratio']:g} of each term alone: `--cfg-options "
                  f"{' '.join(options)}`"]
    return '\n'.join(lines)


def read_kept(folder):
    """{recipe: stages} of ``<folder>/weights/<recipe>.json``, as ``weigh_terms.py --out`` wrote
    them."""
    kept = {}
    for path in sorted(glob.glob(os.path.join(folder, WEIGHTS, '*.json'))):
        with open(path, encoding='utf-8') as file:
            kept[os.path.splitext(os.path.basename(path))[0]] = json.load(file)
    return kept


def joint_weights(kept):
    """One table of several recipes: each term's ratio and cosine at every stage."""
    stages = list(dict.fromkeys(stage['stage'] for one in kept.values() for stage in one))
    header = ['Recipe', 'Term', 'Weight', *(f'{what} {stage}' for stage in stages
                                            for what in ('Gradient ratio', 'Cosine')),
              f'Weight for ratio 1 {stages[-1]}']
    body = []
    for recipe, measured in kept.items():
        found = {stage['stage']: stage for stage in measured}
        for name, row in measured[0]['rows'].items():
            if name == measured[0]['reference'] or row['weight'] is None:
                continue
            at = [found[stage]['rows'][name] if stage in found else None for stage in stages]
            body.append([recipe, f'`{name}`', f"{row['weight']:g}"]
                        + [text for one in at for text in (
                            _text(one and one['ratio']), _text(one and one['cosine'], '.2f'))]
                        + ['' if not at[-1] or at[-1]['suggested'] is None
                           else f"{at[-1]['suggested']:.3g}"])
    return table(header, body)


def _cells(name, row, reference):
    weight = '' if row['weight'] is None else f"{row['weight']:g}"
    if row['schedule'] == 0:
        return [weight, '', '', 'off by its schedule', '', '']
    if row['schedule'] not in (None, 1):
        weight += f" x {row['schedule']:.3g} (schedule)"
    suggested = '' if row['suggested'] is None else f"{row['suggested']:.3g}"
    ratio = '1 (reference)' if name == reference else _text(row['ratio'])
    cosine = '' if name == reference else _text(row['cosine'], '.2f')
    return [weight, _text(row['loss']), _text(row['weighted']), ratio, cosine, suggested]


def _text(figure, form='.3g'):
    """Mean and spread; '-' where it is not defined."""
    return '-' if figure is None else f"{figure['mean']:{form}} ± {figure['std']:.2g}"
