"""Data sets. Those in ``drawn`` exist in full wherever mmkd does."""
