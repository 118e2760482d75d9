"""What losses may ask for besides the two taps: made once per step, and only if asked for."""
from .values import leaves


class Extras:
    """Answers by name.

    Args:
        makers (dict): name -> function of this object, of the student's library.
        inputs (Tensor | dict): The student's batch (N, C, H, W), or several modalities by name.
        data_samples (list): Its samples.
        student (nn.Module): The student.
        teachers (dict): name -> (its network, its inputs, its samples).
        shared (dict): What the student gave that the teachers' forwards use, too (RoIs).

    A maker that reads ``teacher`` gets the teacher of the term that asks, as (network, inputs,
    samples).
    """

    def __init__(self, makers, inputs, data_samples, student=None, teachers=None, shared=None):
        self.inputs, self.data_samples, self.student = inputs, data_samples, student
        self.shared = shared or {}
        self._makers, self._teachers, self._made, self._asks = makers, teachers or {}, {}, None

    def __call__(self, name, teacher=None):
        """What is called ``name``, for a term with this teacher."""
        key = (name, teacher if name.startswith('teacher') else None)
        if key not in self._made:
            self._asks = teacher
            self._made[key] = self._makers[name](self)
        return self._made[key]

    @property
    def device(self):
        """Where the batch is."""
        return leaves(self.inputs)[0].device

    @property
    def teacher(self):
        return self._teachers[self._asks]


def _metas(batch):
    return [sample.metainfo for sample in batch.data_samples]


def _inputs(batch):
    return batch.inputs


def _data_samples(batch):
    return batch.data_samples


#: what every library has
OF_ANY_BATCH = dict(metas=_metas, inputs=_inputs, data_samples=_data_samples)
