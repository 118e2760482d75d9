"""OfflineDistiller: a student taught by one or several frozen teachers."""
import torch
from mmengine.model import BaseModel
from torch import nn

from ...registry import MODELS
from ..extras import Extras
from ..libraries import library_of
from ..preprocessing import RawBatch, allow_bare_images
from ..recorder import Recorder
from ..schedules import now
from ..values import map_leaves
from .assembly import assemble, build_student
from .init_student import inherit
from .slips import refuse_slips


@MODELS.register_module()
class OfflineDistiller(BaseModel):
    """Adds teaching to a student's ``mode='loss'``; in every other mode it is the student.

    The student's own children are this module's children, under the student's
    own names, so checkpoints, optimizers, DDP and EMA see the student as if it
    were trained alone. Connectors and the losses' state are under
    ``distiller.<term>``. Teachers are no modules of it.

    Args:
        student (dict | nn.Module): The student's model config, or
            ``dict(config='mmseg::...')``.
        teacher (dict): ``dict(config=..., checkpoint=...)`` or a dict of named ones;
            see :class:`~mmkd.models.teacher.Teacher`.
        distillations (dict): name -> term; see :mod:`mmkd.models.terms`. ``None``
            instead of a term removes one that a base config has.
        data_preprocessor (dict, optional): For a student that has none of its own.
        student_loss (bool): False: only the teachers teach. The student's own losses are not
            computed, and the batches need no annotations; images alone are enough.
        init_student (bool | str | dict): True (or a teacher's name): before training, all of the
            student outside its backbone whose name and shape the teacher has starts as the
            teacher's, as published for FGD, MGD and PGD. ``dict(keep='first')`` (and
            ``teacher='name'``): all of a narrower student starts as the first channels of the
            teacher's layers, with ``keep='bn_scale'`` as those whose norm has the largest absolute
            scale, as published for SparseKD.

    Raises:
        ValueError: Anything that would fail, or do nothing, during training; one
            message lists all that was found.
    """

    def __new__(cls, student=None, teacher=None, distillations=None, data_preprocessor=None,
                student_loss=True, init_student=False, **others):
        # init_model() of an OpenMMLab library sets train_cfg=None and pretrained=None, in any
        # config: the model is for inference, for which the student alone is wanted.
        if others and set(others) <= {'train_cfg', 'pretrained'} and not any(others.values()):
            return build_student(student, data_preprocessor, **others)
        return super().__new__(cls)

    def __init__(self, student=None, teacher=None, distillations=None, data_preprocessor=None,
                 student_loss=True, init_student=False, **unknown):
        refuse_slips(type(self), student, teacher, distillations, unknown)
        plan = assemble(student, data_preprocessor, teacher, distillations, student_loss,
                        init_student)
        student = plan.student
        super().__init__(student.data_preprocessor)
        # No child: its children are ours. deepcopy and pickle keep the sharing.
        object.__setattr__(self, 'student', student)
        self._modules.update(student._modules)
        for shared in ('_parameters', '_buffers', '_non_persistent_buffers_set'):
            setattr(self, shared, getattr(student, shared))
        self.student_loss = student_loss
        self.teachers, self._extras = plan.teachers, plan.extras
        self._counts, self._clone, self._shared = plan.counts, plan.clone, plan.shared
        self.distiller = nn.ModuleDict({term.spec.name: term for term in plan.terms})
        #: names that are logged and never part of the sum
        self._weights = {f'weight_{term.spec.name}' for term in plan.terms if term.spec.changes}
        self._first_step, self._heritage = plan.first_step, plan.heritage
        self._inherit()
        if not student_loss:
            allow_bare_images(student.data_preprocessor, library_of(student).bare_samples)
        self._raw_batch = RawBatch.attach(self.student.data_preprocessor) if any(
            t.own_inputs for t in self.teachers.values()) else None

    # ---- being the student ------------------------------------------------------
    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self.__dict__.get('student')
            if student is None or name.startswith('__'):
                raise
            return getattr(student, name)

    # A child may be replaced from outside, e.g. when BN is converted to SyncBN.
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        self._replace_in_student(name)

    def add_module(self, name, module):
        super().add_module(name, module)
        self._replace_in_student(name)

    def _replace_in_student(self, name):
        student = self.__dict__.get('student')
        if student is not None and name in student._modules:
            student._modules[name] = self._modules[name]

    def train(self, mode=True):
        super().train(mode)
        self.student.train(mode)
        return self

    def _inherit(self):
        if self._heritage is not None:
            inherit(self.student, self.teachers[self._heritage.teacher], self._heritage)

    def init_weights(self):
        self.student.init_weights()
        self._inherit()
        with torch.random.fork_rng(devices=[]):
            for module in self.distiller.modules():
                if module is not self.distiller and hasattr(module, 'init_weights'):
                    module.init_weights()

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        for teacher in self.teachers.values():
            teacher.model._apply(fn)
        return self

    def _set_device(self, device):
        super()._set_device(device)
        for teacher in self.teachers.values():
            teacher.model._set_device(device)

    # ---- running ----------------------------------------------------------------
    def forward(self, inputs, data_samples=None, mode='tensor'):
        """As the student's; with ``mode='loss'`` its losses and those of the terms."""
        if mode != 'loss':
            return self.student(inputs, data_samples, mode=mode)
        return self.loss(inputs, data_samples)

    def loss(self, inputs, data_samples):
        """The student's own losses and ``loss_<term>`` of every term."""
        with Recorder(self.student, self._counts, self._clone) as recorder:
            losses = self._run_student(inputs, data_samples)
        read, given = {None: recorder.calls}, {}
        shared = {name: tap.read(recorder.calls) for name, tap in self._shared.items()}
        for name, teacher in self.teachers.items():
            batch = (inputs, data_samples)
            if teacher.own_inputs:
                batch = self._raw_batch.preprocess(teacher.model.data_preprocessor,
                                                   teacher.reads)
            given[name] = (teacher.model, *batch)
            read[name] = teacher.read(*batch, shared)
        self._check_counts(read)
        time = now()
        extras = Extras(self._extras, inputs, data_samples, self.student, given, shared)
        for name, term in self.distiller.items():
            taken = {side: term.read(side, read[owner])
                     for side, owner in (('student', None), ('teacher', term.spec.teacher))}
            looked_at = name in self._first_step.done or not torch.is_grad_enabled()
            values = term(taken['student'], taken['teacher'], time, extras,
                          None if looked_at else self._first_step)
            if term.spec.changes:
                values[f'weight_{name}'] = torch.tensor(term.factor(time))
            self._check_names(name, values, losses)
            losses.update(values)
        return losses

    def parse_losses(self, losses):
        """As any model's; a term's current weight is logged, and no part of the sum."""
        total, log = super().parse_losses({key: value for key, value in losses.items()
                                           if key not in self._weights})
        log.update((key, losses[key]) for key in self._weights if key in losses)
        return total, log

    def _run_student(self, inputs, data_samples):
        library = library_of(self.student)
        if hasattr(library, 'check_batch'):
            library.check_batch(self.student, 'the student', inputs, data_samples)
            inputs = map_leaves(_alias, inputs)  # mmdet3d squeezes batches of one in place
        if not self.student_loss:
            library.forward(self.student, inputs, data_samples,
                            [source.path for source in self._counts])
            return {}
        try:
            return self.student(inputs, data_samples, mode='loss')
        except Exception as error:
            if not library.lacks_labels(data_samples):
                raise
            raise RuntimeError(
                "the student's own losses need annotations, and this batch has none: let the "
                'train pipeline load them (LoadAnnotations), or, to learn from the teacher '
                'alone, set student_loss=False in the distiller (model.student_loss=False on '
                'the command line)') from error

    def _check_counts(self, read):
        """Every tap fired as often as in the dry run, or the losses would be silently wrong."""
        expected = {None: self._counts, **{n: t.counts for n, t in self.teachers.items()}}
        for owner, counts in expected.items():
            for source, count in counts.items():
                fired = len(read[owner][source])
                if fired == count or count is None and fired:
                    continue
                label = 'student' if owner is None else self.teachers[owner].name
                terms = [n for n, t in self.distiller.items() if source in t.sources]
                asked = f"terms {', '.join(map(repr, terms))}" if terms else \
                    'what the student gives its teachers'
                raise RuntimeError(
                    f"{asked}: '{source}' of the {label} fired {fired} "
                    f"times in this step and {'at least once' if count is None else count} times "
                    'in the dry run. Tap a module that runs the same number of times in every '
                    "forward, or, for a loss that takes any number ('path[:]'), set varying=True "
                    'in the term')

    def _check_names(self, name, values, losses):
        for key in values:
            if key in losses:
                raise RuntimeError(f'term {name!r} would log as {key!r}, a name the student has '
                                   'already; rename the term')


def _alias(x):
    """The same memory as another tensor."""
    return x.view_as(x)
