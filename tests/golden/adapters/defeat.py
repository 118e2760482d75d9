"""DeFeat: the neck, and the RoIs' class scores where a case has them."""
from tests.golden.adapters._defeatrepo import run

__all__ = ['run']
