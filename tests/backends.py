"""The backends a claim must hold on, named one by one so that nothing is compared with itself."""

from collections.abc import Iterator

import pytest

from stylegan_fast.ops import library

CPU_BACKENDS = [
    "reference",
    pytest.param("cpu", marks=pytest.mark.skipif(library.native() is None, reason="the extension was not built")),
]


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with library.use_backend(request.param):
        yield request.param
