"""Which nvcc compiles the CUDA kernels, and for which GPUs. Standard library only."""
import os
import re
import shutil
import subprocess

FLAGS = ['-fmad=false', '-DUSE_CUDA', '--expt-relaxed-constexpr', '-Xcompiler',
         '-fPIC,-fvisibility=hidden,-Wall,-Wextra,-Wno-unused-parameter']


class BuildError(RuntimeError):
    """Something needed is missing or does not go together, or a compiler failed."""


def output_of(*command):
    """What a command prints, '' where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ''


def find():
    """Path of nvcc, or None: $CUDA_HOME first, then PATH; without $CUDA_HOME, /usr/local/cuda."""
    home = os.environ.get('CUDA_HOME')
    if home:
        return shutil.which('nvcc', path=f'{home}/bin') or shutil.which('nvcc')
    return shutil.which('nvcc') or shutil.which('nvcc', path='/usr/local/cuda/bin')


def release(nvcc):
    """(major, minor) of its CUDA, None where it does not say."""
    said = re.search(r'release (\d+)\.(\d+)', output_of(nvcc, '--version'))
    return said and (int(said[1]), int(said[2]))


def check_release(nvcc, cuda_of_torch):
    """Raise BuildError if nvcc and torch ('12.8'; None: for the CPU) are of different major
    versions of CUDA."""
    if cuda_of_torch is None:
        raise BuildError('the installed torch is a build for the CPU')
    own = release(nvcc)
    if own and own[0] != int(cuda_of_torch.split('.')[0]):
        major = cuda_of_torch.split('.')[0]
        raise BuildError(f'{nvcc} is of CUDA {own[0]}.{own[1]}, but torch was built for CUDA '
                         f'{cuda_of_torch}: set CUDA_HOME to a toolkit of CUDA {major}, or install '
                         f'a torch for CUDA {own[0]}')


def gpus():
    """Compute capability and driver of each GPU of this machine, in text; '' without one.

    Asked from the driver's tool: torch would have to start CUDA in this process, after which it
    cannot be used in a fork.
    """
    return output_of('nvidia-smi', '--query-gpu=compute_cap,driver_version',
                     '--format=csv,noheader').strip()


def architectures(nvcc):
    """What to compile for: $TORCH_CUDA_ARCH_LIST ('8.0;9.0+PTX'), else the GPUs of this machine,
    else ['all-major'].

    A GPU that is newer than nvcc gets the newest that nvcc knows, whose PTX it can run.

    Raises:
        BuildError: a list that is not one, or GPUs that are older than nvcc compiles for.
    """
    wanted = [arch for arch in re.split(r'[;,\s]+', os.environ.get('TORCH_CUDA_ARCH_LIST', ''))
              if arch]
    for arch in wanted:
        if not re.fullmatch(r'\d+\.\d[af]?(\+PTX)?', arch):
            raise BuildError(f'TORCH_CUDA_ARCH_LIST holds {arch!r}, which is no compute capability '
                             "such as '8.0' or '9.0+PTX'")
    if wanted:
        return sorted(set(wanted), key=_order)
    seen = sorted(set(re.findall(r'^\d+\.\d', gpus(), re.MULTILINE)), key=_order)
    if not seen:
        return ['all-major']
    known = sorted({f'{n[:-1]}.{n[-1]}' for n in re.findall(
        r'compute_(\d+)', output_of(nvcc, '--list-gpu-arch'))} or seen, key=_order)
    fit = [max((k for k in known if _order(k) <= _order(arch)), key=_order, default=None)
           for arch in seen]
    if not any(fit):
        raise BuildError(f'{nvcc} compiles for compute capability {known[0]} and newer, the GPUs '
                         f"here have {', '.join(seen)}: set CUDA_HOME to an older toolkit")
    return sorted({arch for arch in fit if arch}, key=_order)


def architecture_flags(architectures):
    """nvcc's flags: code of each, and PTX of the newest, which still newer GPUs compile."""
    if architectures == ['all-major']:
        return ['-arch=all-major']  # with the PTX of the newest
    codes = []
    for arch in architectures:
        number = arch.removesuffix('+PTX').replace('.', '')
        codes.append(f'arch=compute_{number},code=sm_{number}')
        if arch.endswith('+PTX') or arch == architectures[-1]:
            portable = number.rstrip('af')  # PTX of 9.0a runs on nothing but 9.0
            codes.append(f'arch=compute_{portable},code=compute_{portable}')
    return [flag for code in dict.fromkeys(codes) for flag in ('-gencode', code)]


def _order(arch):
    """By number; what has the same one in the order of letters."""
    return [int(n) for n in re.findall(r'\d+', arch)], arch
