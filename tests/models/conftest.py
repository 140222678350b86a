import pytest

from stylegan_fast.models import Discriminator, Generator
from tests.backends import backend

__all__ = ["backend"]


@pytest.fixture
def small_generator() -> Generator:
    return Generator(32, z_dim=8, w_dim=12, channel_base=64, channel_max=8, mapping_layers=2)


@pytest.fixture
def small_discriminator() -> Discriminator:
    return Discriminator(32, channel_base=64, channel_max=8)
