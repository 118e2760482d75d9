"""Boxes of detection data that are to be ignored, or taken for others, are told."""
# ruff: noqa: F811 - fixtures are imported
import pytest

from mmkd.apis import check_datasets
from tests.apis.test_det_data import change, config, drawn, root, told  # noqa: F401


@pytest.mark.parametrize('filter_empty', [True, False])
def test_boxes_to_be_ignored_teach_nothing(root, filter_empty):
    cfg = config(root, filter_cfg=dict(filter_empty_gt=filter_empty))
    content = change(root, annotations=lambda held: [dict(one, iscrowd=1) for one in held])
    told(cfg, f"but {len(content['annotations'])} to be ignored", 'nothing to learn')
    change(root, annotations=lambda held: [dict(held[0], iscrowd=0), *held[1:]])
    left = len(content['annotations']) - 1
    assert f'{left} of {left + 1} boxes are to be ignored' in ' '.join(check_datasets(cfg)[0].notes)


def reaching_out(root):
    return [note for note in check_datasets(config(root))[0].notes if 'reach out' in note]


def test_corners_in_place_of_width_and_height(root):
    assert not reaching_out(root)

    def corners(held):
        return [dict(one, bbox=[x, y, x + w, y + h]) for one in held
                for x, y, w, h in [one['bbox']]]
    boxes = [one['bbox'] for one in change(root, annotations=corners)['annotations']]
    count = sum(x + w > 64 + 1 or y + h > 48 + 1 for x, y, w, h in boxes)
    note, = reaching_out(root)
    assert count and note.startswith(f'{count} of {len(boxes)} boxes')


def test_a_pixel_more_is_no_mistake(root):
    change(root, annotations=lambda held: [dict(one, bbox=[-1, 0, 66, 49]) for one in held])
    assert not reaching_out(root)
    change(root, annotations=lambda held: [dict(held[0], bbox=[-2, 0, 66, 49]), *held[1:]])
    assert reaching_out(root)[0].startswith('1 of')


def test_categories_of_one_name(root):
    change(root, categories=lambda held: [*held, dict(id=999, name='car')])
    told(config(root), "several categories called 'car'", '999', 'one category_id')
