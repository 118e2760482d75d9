"""What the tests of the tools share."""
import pytest

from tests.cli import Here


@pytest.fixture
def here(monkeypatch, capfd):
    """Runs a tool in the test's own process."""
    return Here(monkeypatch, capfd)
