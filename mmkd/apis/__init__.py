"""What the command-line tools are made of."""
from ..utils.config_files import config_root
from ..utils.paths import check_writable
from ..utils.recipes import join_recipes, recipes
from .amp import use_amp, use_cpu_amp
from .checking import check_training
from .config import compose, prepare, student_only
from .data_check import check_datasets
from .early_log import keep_log, show_kept_warnings
from .fitting import fitting_weights
from .launch import end_processes, use_cpu_processes
from .resuming import check_found, find_start, how_to_go_on, latest_checkpoint
from .runners import build_model, build_runner
from .slips import check_model, merge_options

__all__ = ['build_model', 'build_runner', 'check_datasets', 'check_found', 'check_model',
           'check_training', 'check_writable', 'compose', 'config_root', 'end_processes',
           'find_start', 'fitting_weights', 'how_to_go_on', 'join_recipes', 'keep_log',
           'latest_checkpoint', 'merge_options', 'prepare', 'recipes', 'show_kept_warnings',
           'student_only', 'use_amp', 'use_cpu_amp', 'use_cpu_processes']
