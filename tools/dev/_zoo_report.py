"""What was found of a zoo's models, as lines, counts and a table."""
import re
import subprocess
from collections import Counter
from pathlib import Path

from _zoo_libraries import ZOOS


def summary(rows, terms):
    """{term: (models that are perfect, models that train here and have it)}."""
    here = [row for row in rows.values() if not row['stock']]
    return {name: (sum(row.get(name) == '' for row in here), sum(name in row for row in here))
            for name in terms}


def worse_than(before, rows, terms):
    """The configs of which a term was perfect ``before`` (or was not tried) and is not now."""
    return list(dict.fromkeys(
        config for config, row in rows.items() for name in terms if _wrong(row, name)
        and not (config in before and _wrong(before[config], name))))


def _wrong(row, name):
    return row['stock'] or row.get('none') or row.get(name)


def tell(config, row, terms):
    """Print a line on what was found of a model."""
    if row['stock']:
        print(f"{config}: does not train here without mmkd: {_short(row['stock'])}", flush=True)
        return
    if row.get('none'):
        print(f"{config}: {row['none']}", flush=True)
        return
    said = [f"{name}: {_short(row[name]) or 'ok'}" for name in terms if name in row]
    print(f"{config} ({row['seconds']} s): {'; '.join(said)}", flush=True)


def _short(text, length=300):
    text = ' '.join(text.split())
    return text if len(text) <= length else text[:length - 3] + '...'


def render(report, library):
    """The Markdown of a whole run."""
    rows, terms = report['models'], ZOOS[library].terms
    lines = ['| | models |', '|---|---|']
    for name, (good, count) in summary(rows, terms).items():
        lines.append(f'| {name} term | {good} of {count} |')
    lines += ['', _how(report, library)]
    worse = {config: _why(row, terms) for config, row in rows.items()
             if any(_wrong(row, name) for name in terms)}
    if ZOOS[library].reasons and worse:
        counts = Counter(_reason(why, library) for why in worse.values())
        lines += ['', '| why a model is not perfect | models |', '|---|---|']
        lines += [f'| {reason} | {count} |' for reason, count in counts.most_common()]
    if worse:
        lines += ['', '| model | what is not perfect |', '|---|---|']
    lines += [f"| {config} | {_short(why).replace('|', '/')} |" for config, why in worse.items()]
    return '\n'.join(lines) + '\n'


def _how(report, library):
    rows, zoo = report['models'], ZOOS[library]
    commits = Counter(row['commit'] for row in rows.values())
    tried = f"{len(rows)} of {report['distinct']} were tried, with mmkd as of " + ', '.join(
        f'{commit} ({count})' for commit, count in commits.most_common())
    ignored = 'depth, widths, other numbers and weights' if zoo.numbers_ignored else \
        'depth, crops, classes and weights'
    needed = Counter(package for row in rows.values() for package in row.get('needs', ()))
    versions = report.get('packages', {})
    needed = ''.join(f' {count} of them are built of {package} {versions[package]}, which set-up '
                     'does not install.' for package, count in needed.items())
    return (f"{report['configs']} configs of {library}'s zoo hold {report['distinct']} "
            f"distinct models ({ignored} ignored); {len(report['unread'])} more "
            f"need {'a package or file' if zoo.few else 'a package'} that is not "
            f"here. {tried}.{needed} {report['date']}, torch {report['torch']}, "
            f"`{report['command']}`.")


def _why(row, terms):
    if row['stock']:
        return f"does not train here without mmkd: {row['stock']}"
    return row.get('none') or '; '.join(f'{name} term: {row[name]}' for name in terms
                                        if row.get(name))


def _reason(why, library):
    found = [reason for pattern, reason in ZOOS[library].reasons if re.search(pattern, why)]
    return found[0] if found else 'another, said below'


def code():
    """The commit that last changed mmkd, with a + if mmkd was changed since."""
    def git(*words):
        return subprocess.run(['git', *words, '--', ':/mmkd'], cwd=Path(__file__).parent,
                              check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    return git('log', '-1', '--format=%h') + '+' * bool(git('status', '--porcelain'))


__all__ = ['code', 'render', 'summary', 'tell', 'worse_than']
