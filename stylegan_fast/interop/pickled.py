"""Reads a pickle as data, without the pickle module: nothing named in the file is imported, called or executed.

A pickle is a program for a small stack machine. This is such a machine with the instructions that build numbers, texts,
lists, dicts and NumPy arrays. A class that the caller names becomes an inert `Instance` with the state stored for it;
any other class or function ends the reading. Everything built is at most as large as the file: an array is made of
bytes that are there, a dict has texts as keys, and the number of instructions is limited.
"""

from __future__ import annotations

import math
import os
import pickletools
from collections.abc import Callable, Container
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from stylegan_fast.errors import UserError

# The three networks at 1024x1024, with their noise, take 0.33 GB.
LARGEST_FILE = 2 << 30
# They take some 20,000 instructions.
MOST_INSTRUCTIONS = 300_000
_MOST_DIMENSIONS = 8
_LONGEST_NUMBER = 8  # bytes

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd"}
_DTYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_END = object()


class _Mark:
    """Where a run of stack entries begins."""


@dataclass(frozen=True)
class _Named:
    """A class or function the file names; never the thing itself."""

    name: str


@dataclass
class Instance:
    """An object of a class the caller allowed: the class's name and the state the file has for it."""

    class_name: str
    state: Any = None


@dataclass
class _Array:
    value: np.ndarray | None = None


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, _Array) else value


@dataclass
class _DType:
    code: str
    order: str = "="


def read_pickle(path: str | os.PathLike[str], classes: Container[str]) -> Any:
    """What a pickle file holds.

    Args:
        path: the file.
        classes: names, as ``"module Class"``, of classes whose objects become `Instance`.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, dict, NumPy arrays and scalars, `Instance`.

    Raises:
        UserError: the file is damaged, compressed, too large, or asks for anything else.
        OSError: the file cannot be read.
    """
    file = Path(path)
    size = file.stat().st_size
    if size > LARGEST_FILE:
        raise UserError(f"{file}: {size} bytes are more than a pickle of networks has ({LARGEST_FILE} at most)")
    content = file.read_bytes()
    if kind := next((kind for magic, kind in _COMPRESSED.items() if content.startswith(magic)), None):
        raise UserError(f"{file}: is compressed ({kind}); unpack it first")
    try:
        return _Machine(content, classes).run()
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


class _Machine:
    def __init__(self, content: bytes, classes: Container[str]) -> None:
        self.content = content
        self.classes = classes
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        count = 0
        try:
            for opcode, argument, _ in pickletools.genops(BytesIO(self.content)):
                count += 1
                if count > MOST_INSTRUCTIONS:
                    raise UserError(f"more than {MOST_INSTRUCTIONS} instructions; no pickle of networks has so many")
                instruction = _INSTRUCTIONS.get(opcode.name)
                if instruction is None:
                    raise UserError(f"the instruction {opcode.name} has no place in a pickle of networks; not followed")
                if instruction(self, argument) is _END:
                    break
            (result,) = self.stack
        except UserError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            # What pickletools says of damaged content, and what an instruction meets on a stack it does not expect.
            reason = " ".join(str(error).split())[:100]
            raise UserError(f"not a whole pickle ({type(error).__name__}: {reason})") from None
        return _plain(result)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if isinstance(value, _Mark):
            raise ValueError("a mark where a value should be")
        return value

    def popped(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def popped_to_mark(self) -> list[Any]:
        values = []
        while not isinstance(self.stack[-1], _Mark):
            values.append(self.stack.pop())
        self.stack.pop()
        return values[::-1]

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def named(self, name: str) -> None:
        known = name in _FUNCTIONS or name in ("numpy ndarray", "collections OrderedDict", "dnnlib.util EasyDict")
        if not known and name not in self.classes:
            raise UserError(f"asks for {name!r:.120}, which is none of what a pickle of networks needs; not executed")
        self.push(_Named(name))

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError("items for what is not a list")
        target.extend(map(_plain, values))

    def update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise TypeError("entries for what is not a dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) is not str:
                raise UserError(f"a dict with a key that is a {type(key).__name__}, expected texts")
            target[key] = _plain(value)

    def reduce(self) -> None:
        function, arguments = self.popped(2)
        if not isinstance(function, _Named) or function.name not in _FUNCTIONS or type(arguments) is not tuple:
            raise UserError(f"calls {getattr(function, 'name', type(function).__name__)!r:.80}; not executed")
        self.push(_FUNCTIONS[function.name](*arguments))

    def new_object(self) -> None:
        named, arguments = self.popped(2)
        if not isinstance(named, _Named) or arguments != ():
            raise TypeError("an object with arguments")
        if named.name in ("collections OrderedDict", "dnnlib.util EasyDict"):
            self.push({})
        elif named.name in self.classes:
            self.push(Instance(named.name))
        else:
            raise UserError(f"makes an object of {named.name!r:.80}; not executed")

    def build(self) -> None:
        state = self.pop()
        target = self.stack[-1]
        if isinstance(target, Instance):
            target.state = state
        elif isinstance(target, _Array):
            target.value = _array(*state)
        elif isinstance(target, _DType):
            target.order = _byte_order(state)
        elif type(target) is not dict:
            raise TypeError(f"state for a {type(target).__name__}")


def _array(version: Any, shape: Any, dtype: Any, fortran: Any, content: Any) -> np.ndarray:
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
    return _array(1, shape, dtype, order == "F", content)


def _scalar(dtype: Any, content: Any) -> Any:
    return _array(1, (), dtype, False, content)[()]


def _dtype(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _DType):
        raise UserError("an array without a dtype")
    return np.dtype(dtype.order + dtype.code)


def _make_dtype(code: Any, align: Any = False, copy: Any = True) -> _DType:
    # The type first: to compare or to show a tuple of tuples of ... the file made may take for ever.
    if type(code) is not str or code not in _DTYPES:
        raise UserError(f"an array of dtype {code if isinstance(code, str) else type(code)!s:.40}, expected numbers")
    return _DType(code)


def _byte_order(state: Any) -> str:
    if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
        raise UserError("a dtype without a valid byte order")
    return state[1]


def _make_array(array_class: Any, shape: Any, code: Any) -> _Array:
    if array_class != _Named("numpy ndarray"):
        raise UserError("an array of a class that is not NumPy's")
    return _Array()


def _encoded(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise UserError("bytes in an unknown encoding")
    return text.encode("latin1")


# What "calls" in the file amount to.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy dtype": _make_dtype,
    "_codecs encode": _encoded,
    **{f"{module} _reconstruct": _make_array for module in _NUMPY},
    **{f"{module} scalar": _scalar for module in _NUMPY},
    **{f"{module} _frombuffer": _from_buffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
}


def _number(machine: _Machine, value: Any) -> None:
    if isinstance(value, int) and value.bit_length() > 8 * _LONGEST_NUMBER:
        raise UserError(f"a number of {value.bit_length()} bits, more than {8 * _LONGEST_NUMBER}")
    machine.push(value)


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(tuple(map(_plain, machine.popped(count))))


def _tuple(machine: _Machine, _: Any) -> None:
    machine.push(tuple(map(_plain, machine.popped_to_mark())))


def _list(machine: _Machine, _: Any) -> None:
    values = machine.popped_to_mark()
    machine.push([])
    machine.extend(values)


def _dict(machine: _Machine, _: Any) -> None:
    values = machine.popped_to_mark()
    machine.push({})
    machine.update(values)


def _stack_global(machine: _Machine, _: Any) -> None:
    module, name = machine.popped(2)
    if type(module) is not str or type(name) is not str:
        raise TypeError("a class whose name is not a text")
    machine.named(f"{module} {name}")


def _end(machine: _Machine, _: Any) -> object:
    return _END


_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT")
_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING")
_BYTES = ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8")
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": _end,
    "MARK": lambda machine, _: machine.push(_Mark()),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.popped_to_mark(),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(_NUMBERS, _number),
    "BYTEARRAY8": lambda machine, value: machine.push(bytes(value)),
    **dict.fromkeys(_TEXTS + _BYTES, lambda machine, value: machine.push(value)),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": _tuple,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": _list,
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.popped_to_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": _dict,
    "SETITEM": lambda machine, _: machine.update(list(machine.popped(2))),
    "SETITEMS": lambda machine, _: machine.update(machine.popped_to_mark()),
    "GLOBAL": lambda machine, argument: machine.named(argument),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.new_object(),
    "BUILD": lambda machine, _: machine.build(),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, index: machine.remember(index)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])),
}
