"""What the command-line tools are made of."""
from ..utils.config_files import config_root
from ..utils.recipes import join_recipes, recipes
from .checking import check_training
from .config import compose, prepare, student_only
from .data_check import check_datasets
from .launch import end_processes, latest_checkpoint, use_cpu_processes
from .slips import check_model, merge_options

__all__ = ['check_datasets', 'check_model', 'check_training', 'compose', 'config_root',
           'end_processes', 'join_recipes', 'latest_checkpoint', 'merge_options', 'prepare',
           'recipes', 'student_only', 'use_cpu_processes']
