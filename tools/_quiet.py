"""Keeps OpenMMLab's notes to its own developers out of the tools' output.

Imported before mmengine, which warns while it is imported.
"""
import warnings

for _message in ('pkg_resources is deprecated', '``build_', 'Default ``avg_non_ignore``'):
    warnings.filterwarnings('ignore', message=_message)
