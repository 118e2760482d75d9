"""What was found of a zoo's models, as lines, counts and a table."""
import subprocess
from collections import Counter
from pathlib import Path


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
    return row['stock'] or row.get(name)


def tell(config, row, terms):
    """Print a line on what was found of a model."""
    if row['stock']:
        print(f"{config}: does not train here without mmkd: {_short(row['stock'])}", flush=True)
        return
    said = [f"{name}: {_short(row[name]) or 'ok'}" for name in terms if name in row]
    print(f"{config} ({row['seconds']} s): {'; '.join(said)}", flush=True)


def _short(text, length=300):
    text = ' '.join(text.split())
    return text if len(text) <= length else text[:length - 3] + '...'


def render(report, terms):
    """The Markdown of a whole run."""
    rows, library = report['models'], report['library']
    lines = ['| | models |', '|---|---|']
    for name, (good, count) in summary(rows, terms).items():
        lines.append(f'| {name} term | {good} of {count} |')
    commits = Counter(row['commit'] for row in rows.values())
    tried = f"{len(rows)} of {report['distinct']} were tried, with mmkd as of " + ', '.join(
        f'{commit} ({count})' for commit, count in commits.most_common())
    ignored = 'depth, crops, classes and weights' if library == 'mmseg' else \
        'depth, widths, other numbers and weights'
    lines += ['', f"{report['configs']} configs of {library}'s zoo hold {report['distinct']} "
              f"distinct models ({ignored} ignored); {len(report['unread'])} more "
              f"need {'a package' if library == 'mmseg' else 'a package or file'} that is not "
              f"here. {tried}. {report['date']}, torch {report['torch']}, `{report['command']}`."]
    worse = {config: row for config, row in rows.items()
             if any(_wrong(row, name) for name in terms)}
    if worse:
        lines += ['', '| model | what is not perfect |', '|---|---|']
    for config, row in worse.items():
        why = f"does not train here without mmkd: {row['stock']}" if row['stock'] else '; '.join(
            f'{name} term: {row[name]}' for name in terms if row.get(name))
        lines.append(f"| {config} | {_short(why).replace('|', '/')} |")
    return '\n'.join(lines) + '\n'


def code():
    """The commit that last changed mmkd, with a + if mmkd was changed since."""
    def git(*words):
        return subprocess.run(['git', *words, '--', ':/mmkd'], cwd=Path(__file__).parent,
                              check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    return git('log', '-1', '--format=%h') + '+' * bool(git('status', '--porcelain'))


__all__ = ['code', 'render', 'summary', 'tell', 'worse_than']
