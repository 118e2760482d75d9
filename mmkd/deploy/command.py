"""The command: from config and checkpoint to a checked file and its report."""
import copy
import os

import torch
from mmdeploy.backend.base import get_backend_manager
from mmdeploy.utils import get_backend

from ..apis import check_datasets
from . import report as reporting
from . import variants
from .choosing import check_layers, deploy_config_for, fix_size, fixed_size, is_static
from .export import Exported, export_onnx, quiet
from .latency import latencies, runner
from .metrics import build_loader, evaluate, needs_all, scored
from .quantize import check_operators, training_set
from .sdk import FILES, dump_sdk
from .staging import staging
from .student import Student
from .tasks import count_flops, task_for

#: samples that are compared where the user gives no number
COMPARED = 16
REPEATS, WARM_UP = 15, 3


class Deployment:
    """One run of the command.

    Args:
        config, checkpoint (str): A distill config and a checkpoint of that training, or a model's.
        deploy_cfg (str, optional): Name or path; the task's own for ONNX Runtime if left out.
        input (str, optional): A file to compare on instead of the validation set.
        samples (int, optional): Of the validation set, for comparison and metric.
        metric (bool): Evaluate both models.
        threads (int, optional): Of each model while it is timed; PyTorch's number if left out.
        forms (sequence of str): 'int8', 'fp16' or both: made, compared and timed, too.
        calibration_samples (int): Of the training set, for int8.
        say (callable): Gets lines of progress.
    """

    def __init__(self, config, checkpoint, deploy_cfg=None, input=None, samples=None, metric=True,
                 threads=None, forms=(), calibration_samples=variants.CALIBRATED, say=print):
        self.samples, self.input, self.say = samples, input, say
        self.threads = threads or torch.get_num_threads()
        self.names = dict(config=str(config), checkpoint=str(checkpoint))
        self.student = Student(config, checkpoint)
        self.cfg = self.student.cfg
        self.task = task_for(self.student.model)
        self.name, self.deploy_cfg = deploy_config_for(self.task, deploy_cfg)
        self.backend = get_backend(self.deploy_cfg).value
        check_layers(self.student.model, self.backend)
        self.has_backend = get_backend_manager(self.backend).is_available()
        variants.check_backend(forms, self.backend, self.has_backend)
        self.forms, self.calibration_samples = forms, calibration_samples
        self.data = self._read_samples()
        if 'int8' in forms:
            self._check_training_set()
        self.metric = metric and input is None and scored(self.cfg)[1] is not None
        if self.metric and samples and needs_all(self.cfg) \
                and samples < len(build_loader(self.cfg).dataset):
            self.metric = False
            self.student.notes.append(f'no metric of {samples} samples: NuScenesMetric takes the '
                                      'whole validation set')

    def _read_samples(self):
        """What is compared: samples as the data set gives them, after the size is settled."""
        if self.input is not None and not os.path.isfile(self.input):
            raise FileNotFoundError(f'--input: {self.input!r} does not exist')
        has_data = scored(self.cfg)[0] is not None
        if self.input is None:
            if not has_data:
                raise ValueError('the config has no val_dataloader, so that there is nothing to '
                                 'compare on: give --input FILE')
            check_datasets(self.cfg, [key for key in ('val_dataloader', 'test_dataloader')
                                      if self.cfg.get(key)][:1])
        first = self._sample(self.cfg)
        fix_size(self.deploy_cfg, self.task.shape(self.student.model, first))
        # What the export is fed with; PyTorch's metric is of the config as it is.
        self.fed = copy.deepcopy(self.cfg)
        self.task.adapt(self.fed, self.deploy_cfg)
        if self.input is not None:
            data = [self._sample(self.fed)]
        else:
            loader = build_loader(self.fed, self.samples or COMPARED)
            data = [loader.dataset[i] for i in range(min(len(loader.dataset),
                                                         self.samples or COMPARED))]
        for one in data:
            self._check_size(self.task.shape(self.student.model, one))
        if self._takes_any_size():  # else a size that was traced in would not be seen
            data.append(self.task.cropped(data[0]))
        return data

    def _check_training_set(self):
        if self.cfg.get('train_dataloader'):
            check_datasets(self.cfg, ['train_dataloader'])
        self.calibration_samples = min(self.calibration_samples, len(training_set(self.fed)))

    def _sample(self, cfg):
        """The input file, or the first sample of the data set."""
        if self.input is not None:
            try:
                return self.task.read(cfg, self.input)
            except Exception as error:
                raise ValueError(f'--input: {self.input!r} cannot be read as an input of this '
                                 f'model ({type(error).__name__}: {error})') from error
        return build_loader(cfg, 1).dataset[0]

    def _check_size(self, size):
        wanted = fixed_size(self.deploy_cfg)
        if wanted is not None and size != wanted:
            raise ValueError(
                f'an input is {size[0]} x {size[1]} (height x width) as the network gets it, and '
                f'a static export takes {wanted[0]} x {wanted[1]} alone: '
                + 'take a deploy config whose name ends with -dynamic, or '
                * ('dynamic' in self.task.shapes) + "let the config's test pipeline resize")

    def _takes_any_size(self):
        return 'dynamic' in self.task.shapes and not is_static(self.deploy_cfg)

    def run(self, out):
        """Export into the folder ``out``, compare, and write the report.

        Returns:
            dict: The report.

        Raises:
            ValueError: The export is not what PyTorch computes; nothing is written then.
        """
        with staging(out, earlier=reporting.written(out)) as folder:
            scratch = os.path.join(folder, '.scratch')
            os.mkdir(scratch)
            self.say(f'exporting with {self.name}')
            path = export_onnx(self.fed, self.student.save_weights(scratch), self.deploy_cfg,
                               self._source(), folder)
            if 'int8' in self.forms:  # before the metric is waited for
                check_operators(path)
            report = dict(
                self.names, model=self._title(), deploy_config=self.name, backend=self.backend,
                input=self._input(), files=[os.path.basename(path)], size=self._size(path),
                parity=None, metric=None, latency=None, variants={}, notes=list(self.student.notes),
                machine=reporting.machine(), versions=reporting.versions(self.backend))
            if self.has_backend:
                exported = Exported(self.fed, self.deploy_cfg, path, folder, scratch)
                report['files'] = [os.path.basename(file) for file in exported.all_files]
                report['size']['file_bytes'] = sum(map(os.path.getsize, exported.all_files))
                report['parity'] = self._compare(exported)
                if self.metric:
                    report['metric'] = self._score(exported)
                smaller = {kind: self._smaller(kind, exported, folder, report)
                           for kind in self.forms}
                report['latency'] = self._time(exported, smaller)
                for kind, one in report['variants'].items():
                    one['seconds'] = report['latency']['seconds'][kind]
            without = dump_sdk(self.fed, self.deploy_cfg, self.names['checkpoint'], folder)
            report['sdk'] = [] if without else list(FILES)
            report['notes'] += [without] if without else []
            reporting.write(report, folder)
            self.say(reporting.markdown(report))
            self._judge(report)
        return report

    def _source(self):
        return self.input or self.task.source(self.data[0])

    def _title(self):
        return type(self.student.model).__name__

    def _input(self):
        size = fixed_size(self.deploy_cfg)
        if size:
            return f'{size[0]} x {size[1]} (height x width), one sample at a time'
        return 'any height and width, any number of samples' if self._takes_any_size() else \
            'one sample at a time'

    def _size(self, path):
        return dict(file_bytes=os.path.getsize(path),
                    flops=count_flops(self.student.model, self.data[0]),
                    parameters=sum(p.numel() for p in self.student.model.parameters()))

    def _compare(self, exported):
        self.say(f'comparing on {len(self.data)} inputs')
        results = [self.task.compare(self.student.model, exported, one) for one in self.data]
        checks = [dict(one._asdict(), ok=bool(one.ok)) for one in self.task.checks(results)]
        source = '--input' if self.input else 'the validation set'
        if self._takes_any_size():
            source += '; one of them cropped to another size'
        return dict(checks=checks, samples=len(results), source=source)

    def _smaller(self, kind, exported, folder, report):
        """Make a smaller form and put what is measured of it into the report; returns the form."""
        self.say(f'making the {kind} form')
        form = variants.make(kind, exported, self.fed, folder, self.calibration_samples)
        found = dict(files=[os.path.basename(file) for file in form.all_files],
                     file_bytes=sum(map(os.path.getsize, form.all_files)),
                     checks=self._compare(form)['checks'],
                     metric=self._evaluate(form) if self.metric else None)
        variants.refuse_nan(kind, found['checks'])
        if kind == 'int8':
            found['calibrated_on'] = self.calibration_samples
        report['variants'][kind] = found
        return form

    def _evaluate(self, exported):
        return evaluate(exported.backend, self.fed, self.samples,
                        lambda batch: self._check_size(self.task.size_of(batch['inputs']))
                        if fixed_size(self.deploy_cfg) else None)

    def _score(self, exported):
        self.say('evaluating both')
        both = evaluate(self.student.model, self.cfg, self.samples), self._evaluate(exported)
        number = len(build_loader(self.cfg, self.samples).dataset)
        return dict(values={key: (both[0][key], both[1][key]) for key in both[0] if key in both[1]},
                    on=f"By the config's own evaluator, on {number} samples of the validation set.")

    def _time(self, exported, smaller):
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        models = {'PyTorch': self.student.model}
        for name, one in {self.backend: exported, **smaller}.items():
            one.use_threads(self.threads)
            models[name] = one.backend
        try:
            seconds = latencies({name: runner(model, self.data[0])
                                 for name, model in models.items()}, REPEATS, WARM_UP)
        finally:
            torch.set_num_threads(before)
        return dict(seconds=seconds, threads=self.threads, repeats=REPEATS, warm_up=WARM_UP)

    def _judge(self, report):
        wrong = [one for one in (report['parity'] or {}).get('checks', ()) if not one['ok']]
        if wrong:
            raise ValueError('the exported model does not compute what PyTorch does, and was not '
                             'written: ' + '; '.join(
                                 f"{one['name']} is {one['value']:.6g}, and the limit is "
                                 f"{'at least' if one['at_least'] else 'at most'} {one['limit']:g}"
                                 for one in wrong))


def deploy(config, checkpoint, out, **options):
    """Export, compare and report; see :class:`Deployment`. Returns the report."""
    with quiet():
        return Deployment(config, checkpoint, **options).run(out)
