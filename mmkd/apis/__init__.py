"""What the command-line tools are made of."""
from .config import check_datasets, compose, config_root, prepare, recipes, student_only
from .launch import end_processes, latest_checkpoint, use_cpu_processes

__all__ = ['check_datasets', 'compose', 'config_root', 'end_processes', 'latest_checkpoint',
           'prepare', 'recipes', 'student_only', 'use_cpu_processes']
