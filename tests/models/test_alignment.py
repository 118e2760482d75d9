"""Maps of different ranges are compared where both have something, cell by cell in metres."""
import pytest
import torch

from mmkd.models.alignment import align, layouts_of
from mmkd.models.layout import UNKNOWN, Layout

# Shifted by other parts of the width and the height, so that an exchange of axes shows.
WIDE, SHIFTED = (-8., -4., 8., 4.), (-6., -1., 10., 7.)


def coordinates(metres, rows, columns):
    """(1, 2, Y, X): x and y of the center of each cell, which tell a flip or an exchange."""
    x_min, y_min, x_max, y_max = metres
    x = x_min + (torch.arange(columns) + .5) * (x_max - x_min) / columns
    y = y_min + (torch.arange(rows) + .5) * (y_max - y_min) / rows
    return torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)])[None]


def aligned(one, other, student, teacher):
    layouts = dict(student={None: Layout(True, one)}, teacher={None: Layout(True, other)})
    alignment = align(layouts, student, teacher, 'term')
    return alignment, *alignment(student, teacher)


@pytest.mark.parametrize('cells', [(8, 16), (16, 32), (4, 8), (24, 16)])
def test_every_compared_cell_is_at_the_same_place(cells):
    """The teacher's cells are as large, finer, coarser and not square."""
    alignment, s, t = aligned(WIDE, SHIFTED, coordinates(WIDE, 8, 16),
                              coordinates(SHIFTED, *cells))
    assert alignment.area == (-6., -1., 8., 4.) and s.shape == t.shape == (1, 2, 5, 14)
    # Beyond the middle of the teacher's outermost cells there is nothing to interpolate with.
    inner = (slice(None), slice(None), slice(2, -1), slice(2, -1))
    torch.testing.assert_close(t[inner], s[inner], atol=1e-4, rtol=0)
    assert torch.equal(s, coordinates(WIDE, 8, 16)[..., 3:, 2:])


def test_a_shift_by_whole_cells_takes_the_teachers_own_cells():
    teacher = torch.randn(2, 3, 8, 16)
    _, s, t = aligned(WIDE, SHIFTED, torch.randn(2, 3, 8, 16), teacher)
    torch.testing.assert_close(t, teacher[..., :5, :14], atol=1e-5, rtol=0)


def test_one_marked_cell_stays_where_it_is():
    """x 5 to 6 m, y 0 to 1 m; an exchange of axes or a flip would put it elsewhere."""
    student, teacher = torch.zeros(1, 1, 8, 16), torch.zeros(1, 1, 8, 16)
    student[..., 4, 13], teacher[..., 1, 11] = 1, 1
    _, s, t = aligned(WIDE, SHIFTED, student, teacher)
    assert s.nonzero().tolist() == [[0, 0, 1, 11]]
    torch.testing.assert_close(s, t, atol=1e-5, rtol=0)


def test_the_students_cells_are_whole():
    """A border within a cell of the student's leaves that cell out."""
    alignment, s, t = aligned(WIDE, (-7.5, -4., 7.25, 4.), torch.zeros(1, 1, 4, 8),
                              torch.zeros(1, 1, 8, 59))
    assert alignment.area == (-6., -4., 6., 4.) and s.shape == t.shape == (1, 1, 4, 6)


def test_equal_ranges_stay_as_they_are():
    student, teacher = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 8, 16)
    alignment, s, t = aligned(WIDE, tuple(n + 1e-5 for n in WIDE), student, teacher)
    assert s is student and t is teacher and alignment.area == WIDE and not alignment.changes


def test_a_teacher_that_sees_further_is_cut():
    far = (-16., -8., 16., 8.)
    alignment, s, t = aligned(WIDE, far, coordinates(WIDE, 8, 16), coordinates(far, 16, 32))
    assert alignment.area == WIDE
    torch.testing.assert_close(s, t, atol=1e-4, rtol=0)


@pytest.mark.parametrize('other', [(8., -4., 24., 4.), (7.5, -4., 24., 4.), (-8., 4., 8., 9.)])
def test_nothing_in_common_is_refused(other):
    with pytest.raises(ValueError, match=r"student's BEV maps cover x -8 to 8 m, y -4 to 4 m, the "
                                         r"teacher's x .* less than one cell"):
        aligned(WIDE, other, torch.zeros(1, 1, 8, 16), torch.zeros(1, 1, 8, 16))


def test_a_partial_overlap_is_told(monkeypatch):
    told = []
    monkeypatch.setattr('mmkd.models.alignment.print_log', lambda text, **_: told.append(text))
    aligned(WIDE, SHIFTED, torch.zeros(1, 1, 8, 16), torch.zeros(1, 1, 8, 16))
    text, = told
    assert 'compared is x -6 to 8 m, y -1 to 4 m, 55% of the student' in text


def test_all_levels_of_a_pyramid_compare_the_same_metres():
    student = [coordinates(WIDE, 8 // n, 16 // n) for n in (1, 2)]
    teacher = [coordinates(SHIFTED, 8 // n, 16 // n) for n in (1, 2)]
    alignment, s, t = aligned(WIDE, SHIFTED, student, teacher)
    assert alignment.area == (-6., 0., 8., 4.)  # whole cells of the coarse level
    assert [tuple(x.shape[2:]) for x in s] == [tuple(x.shape[2:]) for x in t] == [(4, 14), (2, 7)]
    for one, other in zip(s, t, strict=True):
        torch.testing.assert_close(one[..., 1:-1], other[..., 1:-1], atol=1e-4, rtol=0)


def test_levels_without_common_borders_are_refused():
    with pytest.raises(ValueError, match='have no common borders'):
        aligned(WIDE, SHIFTED, [torch.zeros(1, 1, 8, 16), torch.zeros(1, 1, 3, 6)],
                [torch.zeros(1, 1, 8, 16), torch.zeros(1, 1, 3, 6)])


def test_only_what_is_seen_from_above_is_aligned():
    layouts = dict(student=dict(bev=Layout(True, WIDE), image=UNKNOWN),
                   teacher=dict(bev=Layout(True, SHIFTED), image=UNKNOWN,
                                heat=Layout(True, SHIFTED)))
    student = dict(bev=torch.randn(1, 1, 8, 16), image=torch.randn(1, 1, 5, 5))
    teacher = dict(bev=torch.randn(1, 1, 8, 16), image=torch.randn(1, 1, 5, 5),
                   heat=[torch.randn(1, 1, 16, 32)])
    alignment = align(layouts, student, teacher, 'term')
    s, t = alignment(student, teacher)
    assert s['image'] is student['image'] and t['image'] is teacher['image']
    assert s['bev'].shape == t['bev'].shape == t['heat'][0].shape == (1, 1, 5, 14)
    assert align(dict(student={None: UNKNOWN}, teacher={None: Layout(True, WIDE)}),
                 student['image'], teacher['bev'], 'term') is None


def test_gradients_and_half_precision():
    student = torch.randn(1, 2, 8, 16, requires_grad=True)
    _, s, t = aligned(WIDE, SHIFTED, student, torch.randn(1, 2, 8, 16).bfloat16())
    assert t.dtype == torch.float32
    (s - t).square().mean().backward()
    assert not student.grad[..., 2, :].any() and student.grad[..., 3:, 2:].all()


def test_layouts_of_taps_by_name():
    known = {'bev': Layout(True, WIDE)}
    assert layouts_of('bev', known) == {None: known['bev']}
    assert layouts_of(dict(a='bev', b=('x', 'y')), known) == dict(a=known['bev'], b=UNKNOWN)


def test_cells_of_maps_that_strides_made():
    """Waymo's 468 pillars of 0.32 m: 234, 117 and 59 cells, the last of which reach beyond."""
    layout = Layout(True, (-74.88, -74.88, 74.88, 74.88), (468, 468))
    for count, size in ((936, .16), (468, .32), (234, .64), (117, 1.28), (59, 2.56), (30, 5.12)):
        x = torch.zeros(1, 1, count, 468)
        assert layout.cell(x) == pytest.approx((.32, size))
        assert layout.end(x, 0) == pytest.approx(74.88)
        assert layout.end(x, 1) == pytest.approx(-74.88 + count * size)
    # A map of another number of cells was resized: its cells divide the range.
    assert layout.cell(torch.zeros(1, 1, 100, 100)) == pytest.approx((1.4976, 1.4976))


def test_a_last_cell_that_reaches_beyond_moves_no_other():
    one, other = (0., 0., 14., 14.), (-4., -4., 14., 14.)
    layouts = dict(student={None: Layout(True, one, (14, 14))},
                   teacher={None: Layout(True, other, (9, 9))})
    # Cells of 2 m for the student; 5 of 4 m for the teacher, the last from 12 to 16 m.
    student, teacher = coordinates(one, 7, 7), coordinates((-4., -4., 16., 16.), 5, 5)
    alignment = align(layouts, student, teacher, 'term')
    s, t = alignment(student, teacher)
    assert alignment.area == one
    torch.testing.assert_close(s, t, atol=1e-4, rtol=0)
