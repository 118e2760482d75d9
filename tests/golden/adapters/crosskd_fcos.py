"""CrossKD of FCOS, see _crosskd."""
from tests.golden.adapters._crosskd import run

__all__ = ['run']
