"""Losses that compare feature maps."""
from .at import ATLoss
from .attnfd import AttnFDLoss
from .cwd import CWDLoss
from .fitnet import FitNetLoss
from .mgd import MGDLoss
from .pkd import PKDLoss

__all__ = ['ATLoss', 'AttnFDLoss', 'CWDLoss', 'FitNetLoss', 'MGDLoss', 'PKDLoss']
