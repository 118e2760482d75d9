"""What a training must have in common with the checkpoint that it goes on from."""
from ..utils.weights import as_held_by, misfit, not_finite, weights_in

#: where a checkpoint says what was distilled: {term: class of its loss}
KEY = 'distillation'


def distillation_of(model):
    """{term: class of its loss} of a model; empty for a model without a distiller."""
    terms = getattr(getattr(model, 'module', model), 'distiller', None)
    return {} if terms is None else {
        name: type(getattr(term, 'loss', term)).__name__ for name, term in terms.items()}


def check_start(model, checkpoint, filename, resume):
    """Refuse a checkpoint that ``model`` cannot start from.

    Args:
        model (nn.Module): What is to be trained.
        checkpoint (dict): The loaded file.
        filename (str): Its name, for the message.
        resume (bool): Go on with that training: it must be the same one. Otherwise its weights
            are only a start, of which some must fit.

    Raises:
        ValueError: It is of a training with a teacher and this is none, or the other way round,
            of other terms, or of another model; or it holds NaN.
    """
    own, state = model.state_dict(), as_held_by(model, weights_in(checkpoint, filename))
    if resume:
        _check_distillation(checkpoint, distillation_of(model), filename)
        problem = misfit(own, state)
        if problem:
            raise ValueError(
                f'resume: {filename!r} is not of the training that this config describes: {problem}'
                '. Resume with the config that train.py wrote into its work dir; to start a new '
                f'training from its weights, use --cfg-options load_from={filename} instead')
    # Of any two networks some vectors are equally long.
    elif not any(key in own and own[key].shape == value.shape for key, value in state.items()
                 if value.ndim > 1):
        raise ValueError(f'load_from: nothing in {filename!r} fits this model: '
                         f'{misfit(own, state)}')
    broken = not_finite(own, state)
    if broken:
        raise ValueError(f"{'resume' if resume else 'load_from'}: {filename!r} {broken}")


def _check_distillation(checkpoint, now, filename):
    before = checkpoint.get(KEY)
    if before is None:  # written by an earlier version or by a stock Runner
        taught = 'OfflineDistiller' in str((checkpoint.get('meta') or {}).get('cfg'))
        if taught == bool(now):
            return
        before = {'its terms': '?'} if taught else {}
    if before == now:
        return
    anew = (f'To start a new training from its weights: --cfg-options load_from={filename} '
            'without --resume')
    if before and not now:
        raise ValueError(
            f'resume: {filename!r} is of a distillation ({_terms(before)}), and this config has no '
            'distiller: it would train on without the teacher. Resume with the distill config; '
            f'train.py wrote it into the work dir. {anew}')
    if now and not before:
        raise ValueError(
            f'resume: {filename!r} is of a training without a teacher, and this config distils '
            f'({_terms(now)}). Resume with the config of that training. {anew}')
    raise ValueError(
        f'resume: {filename!r} distilled {_terms(before)}, and this config distils {_terms(now)}. '
        f'Resume with the same terms (a weight may be changed). {anew}')


def _terms(terms):
    return ', '.join(name if loss == '?' else f'{name}: {loss}' for name, loss in terms.items())


class RestoredLosses:
    """The history of losses that a resumed training no longer has is not logged.

    mmengine restores the history of every loss and logs its mean in each line, whether the
    loss is still computed or not. The history is laid aside for one iteration, and given
    back to the losses that came.
    """

    def __init__(self, hub):
        self._hub = hub
        names = [name for name in hub.log_scalars
                 if name.startswith('train/') and 'loss' in name]
        self._histories = {name: hub.log_scalars.pop(name) for name in names}

    def give_back(self):
        for name, history in self._histories.items():
            now = self._hub.log_scalars.get(name)
            if now is not None:
                for value, count in zip(*now.data, strict=True):
                    history.update(float(value), int(count))
                self._hub.log_scalars[name] = history
