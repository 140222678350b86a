from pathlib import Path

import pytest
import torch

from stylegan_fast.models import Generator
from tests.metrics.detectors import SmallDetector, script


@pytest.fixture(autouse=True)
def cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "stylegan_fast"


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(1)
    G = Generator(16, z_dim=8, w_dim=8, channel_base=64, channel_max=8, mapping_layers=2)
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    return G.eval().requires_grad_(False)


@pytest.fixture
def detector_file(tmp_path: Path) -> Path:
    return script(SmallDetector(), tmp_path / "small.pt")
