"""What the command-line tools are made of."""
from .config import check_datasets, compose, config_root, prepare, recipes, student_only
from .launch import latest_checkpoint, use_cpu_processes

__all__ = ['check_datasets', 'compose', 'config_root', 'latest_checkpoint', 'prepare', 'recipes',
           'student_only', 'use_cpu_processes']
