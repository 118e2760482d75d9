"""The adapters of LD, BCKD and CrossKD against mmdet's losses, on awkward images and scores."""

import pytest

from tests.golden.handmade import write_dotted
from tests.golden.handmade_crosskd import FAMILIES, crosskd_arrays
from tests.golden.handmade_heads import KINDS, bckd_arrays, ld_arrays, ld_mmdet33_arrays
from tests.golden.replay import replay

#: kinds that teach nothing: there is no positive
SILENT = dict(ld=('no_box',), ld_mmdet33=('no_box', 'one_value'), bckd=('no_box', 'one_value'))
every_kind = pytest.mark.parametrize('kind', KINDS)


def assert_replays(path, rounding=5e-6):
    _, error, not_finite, problems = replay(path)
    assert not problems and error < rounding
    return not_finite


@every_kind
@pytest.mark.parametrize('family, make', [
    ('ld', ld_arrays), ('ld_mmdet33', ld_mmdet33_arrays), ('bckd', bckd_arrays)])
def test_distributions(tmp_path, family, make, kind):
    args, arrays = make(kind)
    assert not assert_replays(write_dotted(tmp_path, f'{family}__{kind}', args, arrays))
    taught = any(x.any() for key, x in arrays.items() if key.startswith('grad'))
    assert taught == (kind not in SILENT.get(family, ()))


@every_kind
@pytest.mark.parametrize('family', FAMILIES)
def test_crosskd(tmp_path, family, kind):
    args, arrays = crosskd_arrays(family, kind)
    path = write_dotted(tmp_path, f'crosskd_{family}__{kind}', args, arrays)
    not_finite = assert_replays(path)
    assert bool(not_finite) == (kind == 'one_value'), 'one value has no unbiased deviation'


def test_crosskd_of_fcos_with_distances_in_strides(tmp_path):
    args, arrays = crosskd_arrays('fcos', 'ordinary', norm_on_bbox=True)
    assert_replays(write_dotted(tmp_path, 'crosskd_fcos__normed', args, arrays))
