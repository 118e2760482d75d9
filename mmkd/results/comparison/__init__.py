"""Comparisons: the student alone and under recipes, over seeds, in one table."""
from .compare import run_comparison
from .plan import Plan

__all__ = ['Plan', 'run_comparison']
