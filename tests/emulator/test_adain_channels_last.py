"""adain's CUDA kernels for channels_last with vectors of channels, run in the emulator."""

from pathlib import Path

import numpy as np
import pytest

from .adain_cases import OPTIONS, check_backward, check_forward, make
from .dtypes import BF16, F16, F32

# Both sides of every cut: one vector of channels, a slab with idle lanes, a whole slab, more than one; a plane that is
# one slice and one that is several; a last slice shorter than the others.
SLABS = [
    (1, 4, 67, 63),
    (1, 12, 65, 65),
    (2, 32, 16, 19),
    (2, 36, 17, 19),
    (1, 132, 3, 5),
    (1, 64, 24, 29),
]


@pytest.mark.parametrize("case", range(len(SLABS)))
def test_slabs_of_channels_are_right_at_their_edges(program: Path, case: int) -> None:
    """A covering subset: dtypes and options rotate."""
    dtype = (F32, BF16, F16)[case % 3]
    p = make(SLABS[case], dtype, OPTIONS[(case + 1) % 3])
    check_forward(program, p, dtype, True)
    check_backward(program, p, dtype, True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [F32, BF16, F16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", SLABS, ids=str)
def test_slabs_are_right_in_every_dtype(
    program: Path, shape: tuple[int, int, int, int], options: str, dtype: object
) -> None:
    p = make(shape, dtype, options)
    check_forward(program, p, dtype, True)
    check_backward(program, p, dtype, True)
