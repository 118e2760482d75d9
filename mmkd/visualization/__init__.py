"""Pictures."""
from .comparison import colourise, draw_comparison

__all__ = ['colourise', 'draw_comparison']
