import pytest

from stylegan_fast.ops import library

from .cases import Spy


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Which compiled kernels ran."""
    if library.native() is None:
        pytest.skip("the extension was not built")
    seen = Spy(library.native())
    monkeypatch.setattr(library, "_native", seen)
    return seen
