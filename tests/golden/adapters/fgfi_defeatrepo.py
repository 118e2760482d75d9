"""FGFI as DeFeat's repository has it for pyramids."""
from tests.golden.adapters._defeatrepo import run

__all__ = ['run']
