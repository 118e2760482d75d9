"""What is kept of a comparison names no folder of the machine it ran on."""
import os
import sys

from mmkd.results.comparison.outcomes import _portable, _short
from mmkd.utils.config_files import tools_root


def test_commands_are_those_of_the_clone_s_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, os.path.join(tools_root(), 'compare.py'), '--out',
               str(tmp_path / 'out'), '--student', 'my student.py']
    assert _portable(command) == "python tools/compare.py --out out --student 'my student.py'"


def test_configs_are_those_of_the_clone_s_folder():
    """make demo gives them by their whole paths."""
    clone = os.path.dirname(tools_root())
    assert _short(os.path.join(clone, 'configs', 'demo', 'student.py')) == 'configs/demo/student.py'
    assert _short('my_student.py') == 'my_student.py'
