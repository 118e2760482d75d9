"""Measured weights of several recipes in one table."""
import json

from mmkd.results.term_weights import joint_weights, read_kept


def figure(mean, std=0.5):
    return dict(mean=mean, std=std)


def stage(name, rows):
    task = dict(weight=None, ratio=figure(1.), cosine=figure(1.), suggested=None)
    return dict(stage=name, reference='task loss', rows={'task loss': task, **rows})


def row(weight, ratio, cosine, suggested):
    return dict(weight=weight, ratio=ratio and figure(ratio), cosine=cosine and figure(cosine),
                suggested=suggested)


def test_every_term_of_every_recipe_at_every_stage(tmp_path):
    (tmp_path / 'weights').mkdir()
    for name, stages in dict(
            kd=[stage('at first', dict(logits=row(1., 2., .25, .5))),
                stage('later', dict(logits=row(1., 4., .75, .25)))],
            at=[stage('at first', dict(feature=row(100., None, None, None)))]).items():
        (tmp_path / 'weights' / f'{name}.json').write_text(json.dumps(stages))
    kept = read_kept(tmp_path)
    assert list(kept) == ['at', 'kd']
    header, _, at, kd = [[cell.strip() for cell in line.strip('|').split('|')]
                         for line in joint_weights(kept).splitlines()]
    assert header[3:] == ['Gradient ratio at first', 'Cosine at first', 'Gradient ratio later',
                          'Cosine later', 'Weight for ratio 1 later']
    assert at == ['at', '`feature`', '100', '-', '-', '-', '-', '']
    assert kd == ['kd', '`logits`', '1', '2 ± 0.5', '0.25 ± 0.5', '4 ± 0.5', '0.75 ± 0.5', '0.25']


def test_nothing_kept(tmp_path):
    assert read_kept(tmp_path) == {}
