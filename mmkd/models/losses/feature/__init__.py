"""Losses that compare feature maps."""
from .at import ATLoss
from .attnfd import AttnFDLoss
from .cwd import CWDLoss
from .defeat import DeFeatLoss
from .fbkd import FBKDLoss
from .fgd import FGDLoss
from .fgfi import FGFILoss
from .fitnet import FitNetLoss
from .frs import FRSLoss
from .mgd import MGDLoss
from .monodistill import MonoDistillLoss
from .pgd import PGDClsLoss, PGDRegLoss
from .pkd import PKDLoss

__all__ = [
    'ATLoss', 'AttnFDLoss', 'CWDLoss', 'DeFeatLoss', 'FBKDLoss', 'FGDLoss', 'FGFILoss',
    'FitNetLoss', 'FRSLoss', 'MGDLoss', 'MonoDistillLoss', 'PGDClsLoss', 'PGDRegLoss', 'PKDLoss'
]
