"""Keep the pages true: metafiles -> Markdown tables, docstrings -> docs/reference.

    python tools/report.py                              rewrite metadata, tables, reference
    python tools/report.py --check                      exit 1 and name what disagrees
    python tools/report.py --record CONFIG WORK_DIR     note the result of a training
    python tools/report.py --record-comparison OUT FOLDER [--name NAME]
                                                        note a comparison, e.g. into
                                                        configs/comparisons/camvid

Nobody types a result: --record reads it, with its evidence (log, commit, seed, sha256 of the
weights), from the work dir. Published numbers are those of configs/seg/survey_rows.csv and of
published_rows.csv in configs/det and configs/det3d.
"""
import argparse
import os

import _common

from mmkd.apis import config_root
from mmkd.results import metafiles, published, reference, tables
from mmkd.results.comparison import recorded
from mmkd.results.evidence import collect
from mmkd.results.metrics import metric_of

#: page -> measurements shown there: marker -> the file a script wrote
MEASURED = {'README.md': {'demo': 'benchmarks/results/demo.md',
                          'demo_det': 'benchmarks/results/demo_det.md',
                          'demo_det3d': 'benchmarks/results/demo_det3d.md'},
            'docs/taps.md': {'zoo': 'benchmarks/results/zoo.md',
                             'zoo_mmdet': 'benchmarks/results/zoo_mmdet.md',
                             'zoo_mmdet3d': 'benchmarks/results/zoo_mmdet3d.md'},
            'docs/performance.md': {'losses': 'benchmarks/results/losses.md',
                                    'step': 'benchmarks/results/step.md',
                                    'detection_step': 'benchmarks/results/detection_step.md',
                                    'bev_step': 'benchmarks/results/bev_step.md',
                                    'ops': 'benchmarks/results/ops.md',
                                    'ops_cuda': 'benchmarks/results/ops_cuda.md'}}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--check', action='store_true', help='change nothing; exit 1 if anything '
                        'disagrees')
    action.add_argument('--record', nargs=2, metavar=('CONFIG', 'WORK_DIR'),
                        help="write a training's result into its config's metafile")
    action.add_argument('--record-comparison', nargs=2, metavar=('OUT', 'FOLDER'),
                        help="write what tools/compare.py found in OUT into FOLDER's metafile")
    parser.add_argument('--name', default='comparison', help='what to call the comparison that is '
                        'recorded, where a folder holds several (default: comparison)')
    parser.add_argument('--best', action='store_true',
                        help='record the best evaluation (default: the last)')
    parser.add_argument('--git-sha', help='the commit that was trained (default: what the work '
                        'dir says, or HEAD of a clean tree)')
    parser.add_argument('--survey', metavar='DIR', help="with --check: also compare with the "
                        "survey's own tables (" + ', '.join(published.TABLES.values()) + ') in DIR')
    parser.add_argument('--root', help='the repository (default: this one)')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args(argv)
    args.root = os.path.abspath(args.root or os.path.dirname(config_root()))
    return args


class Report:
    """The metafiles of a repository and everything that must agree with them.

    Attributes: ``metas`` (metafile path -> content), ``problems`` (what disagrees).
    """

    def __init__(self, root):
        self.root = root
        self.configs = os.path.join(root, 'configs')
        self.metas = metafiles.read_metafiles(self.configs)
        if not self.metas:
            raise FileNotFoundError(f'{self.configs} holds no metafile')
        self.comparisons = recorded.read_recorded(self.configs)
        self.problems = []

    def name(self, path):
        return os.path.relpath(path, self.root).replace(os.sep, '/')

    def rows(self):
        for path, meta in self.metas.items():
            for model in meta['Models']:
                yield path, meta, model

    # ---- what is derived ------------------------------------------------------------------
    def derive(self):
        """Put what the configs say into the metafiles' content (not into the files)."""
        for path, _, model in self.rows():
            config = os.path.join(self.root, model['Config'])
            if not os.path.isfile(config):
                self.problems.append(f"{self.name(path)}: config {model['Config']!r} is missing")
                continue
            result = model.pop('Results')  # so that it stays last
            model.pop('Metadata', None)
            model.update(Metadata=metafiles.derive(config, self.root), Results=result)

    def pages(self):
        """{path: {marker: table}} of every page with generated tables."""
        pages = {os.path.join(os.path.dirname(path), 'README.md'):
                 {'results': tables.results_table(meta, published.left_out(self.configs, path,
                                                                           meta))}
                 for path, meta in self.metas.items()}
        pages[os.path.join(self.root, 'README.md')] = {
            'methods': tables.methods_table(self.metas, self.root)}
        pages |= {os.path.join(os.path.dirname(path), 'README.md'):
                  recorded.generated(path, named) for path, named in self.comparisons.items()}
        for page, sources in MEASURED.items():
            for marker, source in sources.items():
                path = os.path.join(self.root, source)
                if not os.path.isfile(path):
                    continue
                with open(path, encoding='utf-8') as file:
                    pages.setdefault(os.path.join(self.root, page), {})[marker] = \
                        file.read().strip()
        return pages

    def texts(self):
        """{path: text} of every file as it should be."""
        texts = {path: metafiles.dump(meta) for path, meta in self.metas.items()}
        texts |= {path: metafiles.dump({recorded.KEY: named})
                  for path, named in self.comparisons.items()}
        for path, generated in self.pages().items():
            if not os.path.isfile(path):
                self.problems.append(f'{self.name(path)} is missing')
                continue
            with open(path, encoding='utf-8') as file:
                text = file.read()
            try:
                for marker, table in generated.items():
                    text = tables.put_between(text, marker, table, self.name(path))
                texts[path] = text
            except ValueError as error:
                self.problems.append(str(error))
        texts[os.path.join(self.root, 'model-index.yml')] = metafiles.dump(
            {'Import': [self.name(path) for path in self.metas]})
        texts |= {os.path.join(self.root, page): text for page, text in reference.pages().items()}
        return texts

    # ---- what must agree ------------------------------------------------------------------
    def check_configs(self):
        named = [model['Config'] for _, _, model in self.rows()]
        for path in metafiles.leaf_paths(self.configs):
            count = named.count(self.name(path))
            if count != 1:
                self.problems.append(f'{self.name(path)} has {count} rows in metafiles, not 1')
        for path, meta, model in self.rows():
            where, stem = f"{self.name(path)}: {model['Name']}", os.path.basename(model['Config'])
            if stem != f"{model['Name']}.py":
                self.problems.append(f"{where}: the name is not its config's ({stem})")
            if model['In Collection'] != meta['Collections'][0]['Name']:
                self.problems.append(f"{where}: no collection {model['In Collection']!r} there")

    def check_results(self):
        for path, _, model in self.rows():
            for result in model['Results']:
                self.problems += [f"{self.name(path)}: {model['Name']}: {line}"
                                  for line in metafiles.result_problems(result)]

    def check_published(self, survey=None):
        self.problems += published.problems(self.configs, self.rows(), self.name, survey)

    def check_comparisons(self):
        self.problems += [f'{self.name(path)}: {name}: {line}'
                          for path, named in self.comparisons.items()
                          for name, results in named.items()
                          for line in recorded.problems(results)]

    def check_files(self, texts):
        for path, text in texts.items():
            held = None
            if os.path.isfile(path):
                with open(path, encoding='utf-8') as file:
                    held = file.read()
            if held != text:
                line = next((f' (line {i})' for i, pair in enumerate(
                    zip((held or '').splitlines(), text.splitlines(), strict=False), 1)
                    if pair[0] != pair[1]), '')
                self.problems.append(f'{self.name(path)} is not what configs, metafiles and '
                                     f'docstrings say{line}; run python tools/report.py')


def record(report, config, work_dir, git_sha, best):
    """Write the result of a training into the content of its config's metafile."""
    for _, _, model in report.rows():
        path = os.path.join(report.root, model['Config'])
        if os.path.isfile(path) and os.path.samefile(path, config):
            metrics = [metric_of(result) for result in model['Results']]
            scores, evidence = collect(config, work_dir, metrics, model['Metadata']['Batch Size'],
                                       report.root, git_sha, best)
            for result, metric in zip(model['Results'], metrics, strict=True):
                result['Ours'] = {metric.name: scores[metric.name], 'Evidence': dict(evidence)}
                print(f"{model['Name']}: {metric.name} {scores[metric.name]}")
            return
    raise ValueError(f'{config} has no row in a metafile')


def record_comparison(report, out, folder, name, git_sha):
    """Put a comparison into the content of a folder's metafile; the folder may be new."""
    folder = os.path.abspath(folder)
    if os.path.dirname(folder) != os.path.join(report.configs, 'comparisons'):
        raise ValueError(f'comparisons are recorded in {report.configs}/comparisons/<name>, not '
                         f'in {folder}')
    results = recorded.collect(out, git_sha)
    page = os.path.join(folder, 'README.md')
    os.makedirs(folder, exist_ok=True)
    if not os.path.isfile(page):
        metafiles.write_if_changed(page, recorded.new_page(os.path.basename(folder)))
    report.comparisons.setdefault(os.path.join(folder, 'metafile.yml'), {})[name] = results
    print(f"{name}: {sum(len(row['runs']) for row in results['rows'])} runs")


def main(args):
    report = Report(args.root)
    if args.record and not os.path.isfile(args.record[0]):
        raise FileNotFoundError(f'there is no config {args.record[0]!r}')
    with metafiles.zoo_indices_read_once():
        report.derive()
    if args.record and not report.problems:
        record(report, *args.record, args.git_sha, args.best)
    if args.record_comparison and not report.problems:
        record_comparison(report, *args.record_comparison, args.name, args.git_sha)
    report.check_configs()
    report.check_results()
    report.check_comparisons()
    if not report.problems:  # what follows reads what these have checked
        report.check_published(args.survey)
        texts = report.texts()
        if args.check:
            report.check_files(texts)
        elif not report.problems:
            for path, text in texts.items():
                if metafiles.write_if_changed(path, text):
                    print(f'wrote {report.name(path)}')
    if report.problems:
        raise ValueError('tables, metafiles and configs disagree:\n  '
                         + '\n  '.join(report.problems))
    print(f'{sum(1 for _ in report.rows())} configs of {len(report.metas)} methods: '
          'tables, metafiles and configs agree')


if __name__ == '__main__':
    _common.run(main, parse_args())
