"""The 8 bit and the half precision form of an export, and their columns in the report."""
import os

from .export import Exported
from .half import to_fp16
from .quantize import calibration_inputs, to_int8

#: samples of the training set that int8 is calibrated with where the user gives no number
CALIBRATED = 64
KINDS = ('int8', 'fp16')
#: backends that run the smaller forms
BACKENDS = ('onnxruntime', 'openvino')


def check_backend(kinds, backend, available):
    """Refuse forms that nobody could run here.

    Raises:
        ValueError: The backend has forms of its own, or is not installed.
    """
    options = ' and '.join(f'--{kind}' for kind in kinds)
    if kinds and backend not in BACKENDS:
        raise ValueError(f'{options}: {backend} makes smaller forms by itself, as its deploy '
                         f"config says; here they are made for {' and '.join(BACKENDS)}")
    if kinds and not available:
        raise ValueError(f'{options}: {backend} is not installed, and without it the smaller form '
                         'can be neither calibrated nor compared')


def make(kind, exported, cfg, folder, samples=CALIBRATED):
    """Write a smaller form of an exported float32 model beside it.

    Args:
        kind (str): One of ``KINDS``.
        exported (Exported): The float32 model.
        cfg (Config): The student's, with the training set for 'int8'.
        folder (str): Where the file goes, as ``<name of the float32 file>_<kind>.onnx``.
        samples (int): To calibrate with.

    Returns:
        Exported: The smaller model.
    """
    stem = os.path.splitext(os.path.basename(exported.onnx_file))[0]
    path = os.path.join(folder, f'{stem}_{kind}.onnx')
    if kind == 'int8':
        to_int8(exported.onnx_file, path, calibration_inputs(exported, cfg, samples))
    else:
        to_fp16(exported.onnx_file, path)
    scratch = os.path.join(exported.scratch, kind)
    os.makedirs(scratch, exist_ok=True)
    return Exported(cfg, exported.deploy_cfg, path, folder, scratch)


def refuse_nan(kind, checks):
    """A form that computes no numbers is not written.

    Raises:
        ValueError: A number of the comparison is none.
    """
    broken = [one['name'] for one in checks if one['value'] != one['value']]
    if broken:
        raise ValueError(f"the {kind} form does not compute numbers ({', '.join(broken)} is NaN), "
                         f'and nothing was written: leave out --{kind}'
                         + ('; float16 ends at 65504' if kind == 'fp16' else ''))


def markdown(report, table):
    """Lines of the report about the smaller forms beside the float32 one: none if there are none.

    Args:
        report (dict): With ``variants``, kind -> what the command measured.
        table (callable): Makes lines of (head, rows).
    """
    forms = report['variants']
    if not forms:
        return []

    def row(name, first, values):
        return (name, first, *(values(one) for one in forms.values()))

    size = report['size']['file_bytes']
    rows = [row('file', f'{size / 1e6:.2f} MB', lambda one: f"{one['file_bytes'] / 1e6:.2f} MB "
                f"({one['file_bytes'] / size:.2f} x)")]
    for i, check in enumerate(report['parity']['checks']):
        rows.append(row(check['name'], f"{check['value']:.6g}",
                        lambda one, i=i: f"{one['checks'][i]['value']:.6g}"))
    for name, (_, exported) in (report['metric'] or dict(values={}))['values'].items():
        rows.append(row(name, f'{exported:.4f}', lambda one, name=name, exported=exported:
                        f"{one['metric'][name]:.4f} ({one['metric'][name] - exported:+.4f})"))
    seconds = report['latency']['seconds'][report['backend']]
    rows.append(row('latency', f'{1000 * seconds:.2f} ms', lambda one:
                    f"{1000 * one['seconds']:.2f} ms ({seconds / one['seconds']:.2f} x as fast)"))
    lines = ['', '## Smaller forms', '', *table(('', 'float32', *forms), rows), '',
             'Compared with PyTorch in float32, on the same inputs.']
    if 'int8' in forms:
        lines[-1] += (' int8: ranges of the activations from '
                      f"{forms['int8']['calibrated_on']} samples of the training set.")
    return lines
