"""What the command-line tools are made of."""
from .config import check_datasets, compose, config_root, prepare, recipes, student_only

__all__ = ['check_datasets', 'compose', 'config_root', 'prepare', 'recipes', 'student_only']
