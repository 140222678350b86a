from pathlib import Path

import pytest

from stylegan_fast.models import Generator
from tests.metrics.detectors import SmallDetector, script
from tests.networks import small_generator


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "stylegan_fast"


@pytest.fixture
def generator() -> Generator:
    return small_generator()


@pytest.fixture
def detector_file(tmp_path: Path) -> Path:
    return script(SmallDetector(), tmp_path / "small.pt")
