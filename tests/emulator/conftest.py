import platform
import shutil
from pathlib import Path

import pytest

from .machine import COMPILER, Objects


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """The emulated kernels, compiled once per session (about 45 processor seconds)."""
    if shutil.which(COMPILER) is None or platform.system() != "Linux":
        pytest.skip("the emulator needs Linux and a g++ with the address sanitizer")
    return Objects(tmp_path_factory.mktemp("emulator_objects"))


@pytest.fixture(scope="session")
def program(objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return objects.program(tmp_path_factory.mktemp("emulator"))
