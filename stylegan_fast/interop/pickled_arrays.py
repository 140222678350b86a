"""What the functions that pickled NumPy arrays name amount to, computed without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stylegan_fast.errors import UserError

_MOST_DIMENSIONS = 8
_DTYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")


@dataclass(frozen=True)
class Named:
    """A class or function the file names; never the thing itself."""

    name: str


@dataclass
class PickledArray:
    """An array whose content may not have come yet."""

    value: np.ndarray | None = None


@dataclass
class PickledDType:
    code: str
    order: str = "="


def array(version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> np.ndarray:
    """The array that the five parts of its state describe: a view of the content, which must be all of it."""
    if type(shape) is not tuple or len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise UserError("an array without a valid shape")
    numbers = _dtype(dtype)
    if isinstance(content, str):
        content = content.encode("latin1")
    if type(content) is not bytes or math.prod(shape) * numbers.itemsize != len(content):
        there = len(content) if isinstance(content, bytes) else 0
        raise UserError(f"an array of shape {list(shape)}, {numbers}, with {there} bytes of content")
    return np.frombuffer(content, numbers).reshape(shape, order="F" if fortran else "C")


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return array(1, shape, dtype, order == "F", content)


def _scalar(dtype: Any, content: Any) -> Any:
    return array(1, (), dtype, False, content)[()]


def _dtype(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, PickledDType):
        raise UserError("an array without a dtype")
    return np.dtype(dtype.order + dtype.code)


def _make_dtype(code: Any, align: Any = False, copy: Any = True) -> PickledDType:
    # The type first: to compare or to show a tuple of tuples of ... the file made may take for ever.
    if type(code) is not str or code not in _DTYPES:
        raise UserError(f"an array of dtype {code if isinstance(code, str) else type(code)!s:.40}, expected numbers")
    return PickledDType(code)


def byte_order(state: Any) -> str:
    """ "<", ">", "=" or "|", from the state of a dtype."""
    if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
        raise UserError("a dtype without a valid byte order")
    return state[1]


def _make_array(array_class: Any, shape: Any, code: Any) -> PickledArray:
    if array_class != Named("numpy ndarray"):
        raise UserError("an array of a class that is not NumPy's")
    return PickledArray()


def _encoded(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise UserError("bytes in an unknown encoding")
    return text.encode("latin1")


# What "calls" in the file amount to.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy dtype": _make_dtype,
    "_codecs encode": _encoded,
    **{f"{module} _reconstruct": _make_array for module in _NUMPY},
    **{f"{module} scalar": _scalar for module in _NUMPY},
    **{f"{module} _frombuffer": _from_buffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
}
