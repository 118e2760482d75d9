"""What a training may go on from, and start from."""
import json

import pytest
import torch

from mmkd.engine.continuing import check_start
from tests.cli import weights_of
from tests.engine.common import train
from tests.helpers import build, runner_config, terms_of, tiny_distiller, tiny_segmentor

ALONE = tiny_segmentor()


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Checkpoints of trainings: with KD, with MGD, alone, and alone by a stock Runner."""
    folder = tmp_path_factory.mktemp('files')
    for name, model in (('kd', tiny_distiller('kd')), ('mgd', tiny_distiller('mgd')),
                        ('alone', ALONE), ('stock', ALONE)):
        cfg = runner_config(model, folder / name, iters=1)
        if name == 'stock':
            cfg.custom_hooks = []
        train(cfg)
    old = weights_of(folder / 'kd' / 'iter_1.pth')  # as version 0.1.0 wrote it
    old.pop('distillation')
    (folder / 'old').mkdir()
    torch.save(old, folder / 'old' / 'iter_1.pth')
    return folder


def go_on(files, start, model, folder, **others):
    cfg = runner_config(model, folder, iters=2, load_from=str(files / start / 'iter_1.pth'),
                        **{'resume': True, **others})
    return train(cfg)


@pytest.mark.parametrize('start, model, reason', [
    ('kd', ALONE, r'of a distillation \(logits: KDLoss\), and this config has no distiller'),
    ('mgd', ALONE, 'of a distillation .*, and this config has no distiller'),
    ('old', ALONE, 'of a distillation .*, and this config has no distiller'),
    ('alone', tiny_distiller('kd'), 'without a teacher, and this config distils'),
    ('stock', tiny_distiller('kd'), 'without a teacher, and this config distils'),
    ('kd', tiny_distiller('cwd'), 'distilled logits: KDLoss, and this config distils logits: CWD'),
    ('kd', tiny_distiller('mgd'), 'distilled logits: KDLoss, and this config distils .*feature'),
    ('mgd', tiny_distiller('kd'), 'distilled .*feature.*, and this config distils logits: KDLoss'),
    ('alone', tiny_segmentor(width=12), 'not of the training that this config .*another shape'),
    ('kd', tiny_distiller('kd', tiny_segmentor(aux=True)), 'keys fit.*missing .auxiliary_head'),
])
def test_another_training_is_not_resumed(files, tmp_path, start, model, reason):
    with pytest.raises(ValueError, match=reason) as error:
        go_on(files, start, model, tmp_path)
    assert 'load_from=' in str(error.value)  # what to do instead
    assert not list(tmp_path.glob('*.pth'))


def test_found_by_mmengine_itself(files, tmp_path):
    """resume=True without a file: mmengine takes the newest checkpoint of the work dir."""
    (tmp_path / 'iter_1.pth').write_bytes((files / 'kd' / 'iter_1.pth').read_bytes())
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_1.pth'))
    with pytest.raises(ValueError, match='has no distiller'):
        train(runner_config(ALONE, tmp_path, iters=2, resume=True))


@pytest.mark.parametrize('start, model', [
    ('kd', tiny_distiller('kd')), ('old', tiny_distiller('kd')), ('mgd', tiny_distiller('mgd')),
    ('alone', ALONE), ('stock', ALONE)])
def test_the_same_training_is_resumed(files, tmp_path, start, model):
    assert len(go_on(files, start, model, tmp_path)[1].losses) == 1


def test_a_weight_may_change(files, tmp_path):
    terms = terms_of('kd')
    terms['logits']['weight'] = 0.1
    assert len(go_on(files, 'kd', tiny_distiller(terms), tmp_path)[1].losses) == 1


@pytest.mark.parametrize('start, model', [
    ('kd', ALONE), ('alone', tiny_distiller('mgd')), ('alone', tiny_segmentor(num_classes=7))])
def test_any_weights_are_a_start(files, tmp_path, start, model):
    log = go_on(files, start, model, tmp_path, resume=False, num_classes=4)[1]
    assert len(log.losses) == 2


def test_a_start_of_which_nothing_fits_is_refused(files, tmp_path):
    other = {f'encoder.{key}': value for key, value in
             weights_of(files / 'kd' / 'iter_1.pth')['state_dict'].items()}
    with pytest.raises(ValueError, match="nothing in 'x.pth' fits.*'encoder.' in front"):
        check_start(build(ALONE), dict(state_dict=other), 'x.pth', resume=False)
    with pytest.raises(ValueError, match="nothing in 'x.pth' fits"):  # but for a few vectors
        check_start(build(ALONE), build(tiny_segmentor('PSPHead', 12)).state_dict(), 'x.pth',
                    resume=False)
    with pytest.raises(ValueError, match="'x.pth' holds no weights"):
        check_start(build(ALONE), dict(state_dict={}), 'x.pth', resume=False)


@pytest.mark.parametrize('resume', [False, True])
def test_weights_that_are_not_finite_are_no_start(files, resume):
    state = weights_of(files / 'kd' / 'iter_1.pth')
    state['state_dict']['decode_head.conv_seg.bias'][1] = float('nan')
    with pytest.raises(ValueError, match="'x.pth' holds NaN or infinite values: decode_head.conv_"
                                         r'seg.bias \(1 of 4 values\)'):
        check_start(build(tiny_distiller('kd')), state, 'x.pth', resume)


def test_losses_that_are_gone_are_not_logged(files, tmp_path):
    """The student's loss has another name since: its old mean is no value of this run."""
    renamed = tiny_segmentor()
    renamed['decode_head']['loss_decode']['loss_name'] = 'loss_new'
    cfg = runner_config(renamed, tmp_path, iters=3, resume=True,
                        load_from=str(files / 'alone' / 'iter_1.pth'))
    train(cfg)
    lines = [json.loads(line) for line in next(tmp_path.rglob('scalars.json')).open()]
    lines = [line for line in lines if 'loss' in line]
    assert [line['step'] for line in lines] == [2, 3]
    assert all('decode.loss_new' in line and 'decode.loss_ce' not in line and 'lr' in line
               for line in lines)


def test_histories_of_losses_go_on(files, tmp_path):
    runner = go_on(files, 'alone', ALONE, tmp_path)[0]
    before = weights_of(files / 'alone' / 'iter_1.pth')['message_hub']['log_scalars']
    first = before['train/loss']['__mmkd_history__'][0]
    history, counts = runner.message_hub.get_scalar('train/loss').data
    assert len(history) == 2 and history[0] == float(first) and list(counts) == [1, 1]
