"""Detectors and instance segmentors of mmdet as tasks of ``tools/deploy.py``."""
from mmdeploy.codebase.mmdet.deploy.object_detection import process_model_config

from . import boxes
from .tasks import Check, Task, fix_pictures, names_of, predict, register

#: largest 1 - IoU of the same box
DISTANCE = .01


@register
class Detection(Task):
    """What :class:`~mmkd.deploy.tasks.Task` asks for, for detectors of mmdet."""
    name = 'detection'
    kinds = ('mmdet.SingleStageDetector', 'mmdet.TwoStageDetector')
    shapes = ('dynamic', 'static')
    masks = False

    def fits(self, model):
        names = names_of(model)  # those of mmdet3d inherit from mmdet's
        return super().fits(model) and bool(getattr(model, 'with_mask', False)) == self.masks \
            and not any(name.startswith('mmdet3d.') for name in names)

    def adapt(self, cfg, deploy_cfg):
        fix_pictures(cfg, deploy_cfg, process_model_config,
                     lambda kind: kind.endswith('Resize'))

    def compare(self, pytorch, exported, data):
        wanted, got = (predict(model, data).pred_instances for model in (pytorch, exported.backend))
        result = boxes.compare(boxes.Boxes.of_2d(wanted), boxes.Boxes.of_2d(got),
                               boxes.distances_2d, DISTANCE)
        if self.masks:
            equal = [(wanted.masks[i].bool() == got.masks[j].bool()).double().mean()
                     for i, j in result['pairs']]
            result['pixels'] = float(min(equal, default=1.))
        return result

    def checks(self, results):
        found = boxes.checks(results, 'largest 1 - IoU of a box', DISTANCE)
        if self.masks:
            found.append(Check('equal mask pixels of a box', min(
                one['pixels'] for one in results), .999, at_least=True))
        return found


@register
class InstanceSegmentation(Detection):
    """The same, for models with a mask of each box."""
    name = 'instance-segmentation'
    kinds = ('mmdet.TwoStageDetector',)
    masks = True
