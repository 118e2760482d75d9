"""CrossKD's connector: what it hands to the teacher's head, and who gets a gradient."""
import copy
import pickle

import pytest
import torch

from mmkd.models.connectors import CrossHeadConnector
from mmkd.models.libraries.mmdet_heads import dense_head
from tests.dense_heads import TOWERED, Detector, build_head, pyramid

AFTER = 2


def view(head):
    return dense_head(Detector(bbox_head=head))


def teacher_head(name='GFLHead', **options):
    return build_head(name, seed=7, **options).eval().requires_grad_(False)


def towers(head, features, after=AFTER):
    """Both towers after a convolution and its norm, as the taps give them."""
    levels = {'cls': features, 'reg': features}
    for i in range(after):
        for name, convs in (('cls', head.cls_convs), ('reg', head.reg_convs)):
            levels[name] = [convs[i](x, activate=i < after - 1) for x in levels[name]]
    return levels


def taught(head, features, after=AFTER):
    with torch.no_grad():
        return {f'{name}_tower': value for name, value in towers(head, features, after).items()}


class Probe:
    """A head that gives back what it gets."""

    @staticmethod
    def rest(cls, reg, after):
        return dict(cls=cls, reg=reg, after=after)


@pytest.mark.parametrize('name', TOWERED)
@pytest.mark.parametrize('activated', [True, False])
def test_the_teachers_own_features_give_its_own_predictions(name, activated):
    head, features = teacher_head(name), pyramid()
    connector = CrossHeadConnector(view(head), after=AFTER, activated=activated)
    given = taught(head, features)
    crossed = connector(dict(cls=given['cls_tower'], reg=given['reg_tower']), given)
    expected = view(head).rest(features, features, after=0)
    assert crossed.keys() == expected.keys()
    for key, levels in crossed.items():
        for ours, theirs in zip(levels, expected[key], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('after, activated', [(2, True), (2, False), (0, True)])
def test_mean_and_deviation_of_each_channel_are_the_teachers(after, activated):
    connector = CrossHeadConnector(Probe(), after=after, activated=activated)
    student = dict(cls=pyramid(seed=1), reg=pyramid(seed=2))
    teacher = dict(cls_tower=[3 * x + 1 for x in pyramid(seed=3)], reg_tower=pyramid(seed=4))
    given = connector(student, teacher)
    assert given['after'] == after
    for name in ('cls', 'reg'):
        for ours, theirs, own in zip(given[name], teacher[f'{name}_tower'], student[name],
                                     strict=True):
            if activated and after:
                theirs, own = theirs.clamp(min=0), own.clamp(min=0)
            for c in range(ours.shape[1]):
                of_channel, wanted, before = ours[:, c], theirs[:, c], own[:, c]
                assert of_channel.mean() == pytest.approx(float(wanted.mean()), abs=1e-4)
                assert of_channel.std() == pytest.approx(float(wanted.std()), rel=1e-4)
                corr = torch.corrcoef(torch.stack([of_channel.flatten(), before.flatten()]))
                assert corr[0, 1] == pytest.approx(1, abs=1e-4)


def test_gradient_passes_the_frozen_layers_to_the_students_first_ones():
    teacher, student = teacher_head(), build_head('GFLHead', seed=3)
    connector = CrossHeadConnector(view(teacher), after=AFTER)
    features = [x.requires_grad_() for x in pyramid(seed=1)]
    crossed = connector(towers(student, features), taught(teacher, pyramid(seed=2)))
    sum(x.square().mean() for levels in crossed.values() for x in levels).backward()
    for convs in (student.cls_convs, student.reg_convs):
        reached = [conv.conv.weight.grad is not None and bool(conv.conv.weight.grad.any())
                   for conv in convs]
        assert reached == [True, True, False]
    assert student.gfl_cls.weight.grad is None
    assert all(x.grad.any() for x in features)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teachers_head_is_held_outside():
    head = teacher_head()
    ours = view(head)
    connector = CrossHeadConnector(ours, after=AFTER)
    assert not connector.state_dict() and not list(connector.parameters())
    assert len(list(connector.modules())) == 1
    twin = copy.deepcopy(connector)
    assert twin.teacher_head is ours, 'a copy (EMA) looks at the same teacher'
    data = pickle.dumps(connector)
    assert len(data) < 2000 < sum(p.numel() for p in head.parameters())
    given = taught(head, pyramid())
    with pytest.raises(ValueError, match='came out of a pickle'):
        pickle.loads(data)(dict(cls=given['cls_tower'], reg=given['reg_tower']), given)
    assert connector(dict(cls=given['cls_tower'], reg=given['reg_tower']), given)


def finite(head, student, teacher):
    student = {key: [x.detach().clone().requires_grad_() for x in levels]
               for key, levels in student.items()}
    crossed = CrossHeadConnector(view(head), after=AFTER)(student, teacher)
    values = [x for levels in crossed.values() for x in levels]
    assert all(x.isfinite().all() for x in values)
    sum(x.square().sum() for x in values).backward()
    assert all(x.grad.isfinite().all() for levels in student.values() for x in levels)
    return values


@pytest.mark.parametrize('images, size', [(1, (8, 64)), (1, (8, 8)), (2, (64, 8))], ids=str)
def test_narrow_maps_and_a_single_value(images, size):
    head = teacher_head()
    student, teacher = ([torch.randn(images, 8, -(-size[0] // s), -(-size[1] // s)) for s in
                         (8, 16, 32)] for _ in range(2))
    finite(head, dict(cls=student, reg=student), dict(cls_tower=teacher, reg_tower=teacher))


@pytest.mark.parametrize('change', [torch.zeros_like, lambda x: torch.full_like(x, 0.3),
                                    lambda x: x * 1e4, lambda x: -x.abs()],
                         ids=['zero', 'constant', 'large', 'off'])
@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_awkward_features(change, side):
    maps = dict(student=pyramid(seed=1), teacher=pyramid(seed=2))
    maps[side] = [change(x) for x in maps[side]]
    finite(teacher_head(), dict(cls=maps['student'], reg=maps['student']),
           dict(cls_tower=maps['teacher'], reg_tower=maps['teacher']))


def test_statistics_are_taken_in_float32_and_layers_run_under_autocast():
    head = teacher_head()
    student, teacher = ([x.bfloat16() for x in pyramid(seed=seed)] for seed in (1, 2))
    probed = CrossHeadConnector(Probe())(dict(cls=student, reg=student),
                                         dict(cls_tower=teacher, reg_tower=teacher))
    assert all(x.dtype == torch.float32 for x in probed['cls'])
    with torch.autocast('cpu', torch.bfloat16):
        finite(head, dict(cls=student, reg=student), dict(cls_tower=teacher, reg_tower=teacher))


def test_what_is_wrong_is_told_in_words():
    with pytest.raises(ValueError, match='CrossHeadConnector needs the head of a teacher'):
        CrossHeadConnector()
    connector, maps = CrossHeadConnector(Probe()), pyramid()
    both = dict(cls=maps, reg=maps)
    tapped = dict(cls_tower=maps, reg_tower=maps)
    with pytest.raises(ValueError, match="the teacher has no tap 'cls_tower'.*teacher_tap=dict"):
        connector(both, both)
    with pytest.raises(ValueError, match="the student has no tap 'cls'"):
        connector(maps, tapped)
    with pytest.raises(ValueError, match='student has 2 levels of reg, the teacher 3'):
        connector(dict(both, reg=maps[:2]), tapped)
    with pytest.raises(ValueError, match=r'level 0 of cls is \(2, 6, 8, 8\).*feat_channels'):
        connector(dict(both, cls=pyramid(channels=6)), tapped)
