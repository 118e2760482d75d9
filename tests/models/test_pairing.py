"""Which levels of two pyramids are compared."""
import pytest
import torch

from mmkd.models.layout import Layout
from mmkd.models.pairing import pair_levels


def pyramid(size, *strides, channels=2):
    return [torch.zeros(1, channels, size // stride, size // stride) for stride in strides]


def pair(student, teacher, levels='all', sizes=(256, 256)):
    return pair_levels(dict(student=student, teacher=teacher),
                       dict(zip(('student', 'teacher'), sizes, strict=True)), levels)


def test_single_maps_are_not_paired():
    pairing = pair(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 8, 8))
    assert pairing.strides is None
    x = torch.zeros(1)
    assert pairing.take('student', x) is x


def test_levels_are_paired_by_stride_not_by_index():
    one, two = pyramid(256, 8, 16, 32, 64, 128), pyramid(256, 4, 8, 16, 32, 64)
    pairing = pair(one, two, 'common')
    assert pairing.strides == (8, 16, 32, 64)
    for side, value in dict(student=one, teacher=two).items():
        assert [256 // x.shape[-1] for x in pairing.take(side, value)] == [8, 16, 32, 64]


def test_the_networks_may_have_seen_images_of_other_sizes():
    assert pair(pyramid(256, 8, 16), pyramid(512, 8, 16), sizes=(256, 512)).strides == (8, 16)


def test_a_level_alone_is_named():
    with pytest.raises(ValueError) as error:
        pair(pyramid(256, 8, 16, 128), pyramid(256, 4, 8, 16))
    for part in ('student tap has levels of stride 8, 16, 128', 'teacher tap has levels of stride '
                 '4, 8, 16', 'those of stride 4, 128 have no partner', "levels='common'",
                 '(8, 16)'):
        assert part in str(error.value), part


def test_chosen_strides():
    pairing = pair(pyramid(256, 8, 16, 32), pyramid(256, 4, 8, 16, 32), (16, 32))
    assert pairing.strides == (16, 32)
    assert pairing.index == dict(student={None: [1, 2]}, teacher={None: [2, 3]})
    with pytest.raises(ValueError, match=r'levels=\[4\], but .*: 4 is not in all'):
        pair(pyramid(256, 8, 16), pyramid(256, 4, 8), (4,))


def test_nothing_in_common():
    with pytest.raises(ValueError, match='none is in all'):
        pair(pyramid(256, 8), pyramid(256, 4), 'common')


def test_levels_of_one_stride_keep_their_order():
    pairing = pair(pyramid(256, 16, 16, 16), pyramid(256, 16, 16), 'common')
    assert pairing.strides == (16, 16)
    assert pairing.index == dict(student={None: [0, 1]}, teacher={None: [0, 1]})


def test_pyramids_by_name_have_the_same_levels():
    pairing = pair(dict(a=pyramid(256, 8, 16, 32), b=pyramid(256, 8, 16)),
                   dict(c=pyramid(256, 4, 8, 16), d=torch.zeros(3, 5)), 'common')
    assert pairing.strides == (8, 16)
    taken = pairing.take('teacher', dict(c=[0, 1, 2], d='as it is'))
    assert taken == dict(c=[1, 2], d='as it is')
    with pytest.raises(ValueError, match="student tap 'a' has levels of stride 8, 16, 32"):
        pair(dict(a=pyramid(256, 8, 16, 32), b=pyramid(256, 8, 16)), dict(c=pyramid(256, 8, 16)))


def test_a_map_and_a_pyramid():
    with pytest.raises(ValueError, match='the teacher tap is a pyramid and the student tap is '
                                         'one map'):
        pair(torch.zeros(1, 2, 4, 4), pyramid(256, 8))
    with pytest.raises(ValueError, match=r'the student \(b\) tap is a pyramid and the teacher '
                                         r'\(b\) tap is one map'):
        pair(dict(a=pyramid(256, 8), b=pyramid(256, 8)),
             dict(a=pyramid(256, 8), b=torch.zeros(1, 2, 4, 4)))
    with pytest.raises(ValueError, match="levels='common': neither tap is a pyramid"):
        pair(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), 'common')


# ---- maps seen from above, and of tasks --------------------------------------------------------
def seen_from_above(**layouts):
    return {side: {None: Layout(True, *layouts[side])} for side in ('student', 'teacher')}


def test_levels_of_bev_maps_are_paired_by_their_cells_in_metres():
    one, two = [[torch.zeros(1, 2, n, n) for n in sizes] for sizes in ((32, 16, 8), (32, 16))]
    layouts = seen_from_above(student=((0, 0, 25.6, 25.6),),
                              teacher=((-25.6, -25.6, 25.6, 25.6),))
    pairing = pair_levels(dict(student=one, teacher=two), dict(student=64, teacher=None),
                          'common', layouts)
    assert pairing.strides == (1.6, 3.2)
    assert [x.shape[-1] for x in pairing.take('student', one)] == [16, 8]
    assert [x.shape[-1] for x in pairing.take('teacher', two)] == [32, 16]
    assert pair_levels(dict(student=one, teacher=two), dict(student=64, teacher=None),
                       (1.6,), layouts).strides == (1.6,)
    with pytest.raises(ValueError, match=r'stride 0.8 m, 1.6 m, 3.2 m; the teacher tap has levels '
                                         r'of stride 1.6 m, 3.2 m; those of stride 0.8 m have'):
        pair_levels(dict(student=one, teacher=two), dict(student=64, teacher=None), 'all', layouts)


def tasks(mine, theirs, by_class=True):
    """Pair maps of which every channel holds the number of its class."""
    numbers = {name: i for i, name in enumerate(sorted({n for task in mine + theirs
                                                        for n in task}))}

    def maps(groups):
        if not by_class:
            return [torch.full((1, 10, 4, 4), float(numbers[min(task)])) for task in groups]
        return [torch.tensor([float(numbers[n]) for n in task])[None, :, None, None].expand(
            1, -1, 4, 4) for task in groups]

    values = dict(student=maps(mine), teacher=maps(theirs))
    layouts = seen_from_above(student=((0, 0, 8, 8), None, mine, by_class),
                              teacher=((0, 0, 8, 8), None, theirs, by_class))
    pairing = pair_levels(values, dict(student=None, teacher=None), 'all', layouts)
    assert pairing.strides == (2.,) * len(mine)
    return pairing.take('student', values['student']), pairing.take('teacher', values['teacher'])


@pytest.mark.parametrize('theirs', [
    (('car', 'truck'), ('bus',)), (('bus',), ('truck', 'car')), (('car', 'bus', 'truck'),),
    (('bicycle', 'bus'), ('car',), ('truck',))])
def test_heatmaps_are_paired_by_the_names_of_classes(theirs):
    """In another order, in other tasks, with more classes."""
    student, teacher = tasks((('car', 'truck'), ('bus',)), theirs)
    for one, other in zip(student, teacher, strict=True):
        assert torch.equal(one, other)


def test_a_class_that_the_teacher_does_not_know_is_named():
    with pytest.raises(ValueError, match='does not know the classes bus of the student.*it knows '
                                         'car, truck'):
        tasks((('car', 'truck'), ('bus',)), (('car', 'truck'),))


def test_regressions_are_paired_by_the_classes_that_share_them():
    student, teacher = tasks((('car', 'truck'), ('bus',)), (('bus',), ('truck', 'car')), False)
    for one, other in zip(student, teacher, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"student's tasks are car, truck \| bus, the teacher's "
                                         r'car, truck, bus'):
        tasks((('car', 'truck'), ('bus',)), (('car', 'truck', 'bus'),), False)
