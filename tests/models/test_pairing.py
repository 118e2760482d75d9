"""Which levels of two pyramids are compared."""
import pytest
import torch

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
