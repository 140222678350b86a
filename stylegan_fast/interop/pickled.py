"""Reads a pickle as data, without the pickle module: nothing named in the file is imported, called or executed.

A pickle is a program for a small stack machine. This is such a machine with the instructions that build numbers, texts,
lists, dicts and NumPy arrays. A class that the caller names becomes an inert `Instance` with the state stored for it;
any other class or function ends the reading. Everything built is at most as large as the file: an array is made of
bytes that are there, a dict has texts as keys, and the number of instructions is limited.
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Callable, Container
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from stylegan_fast.errors import UserError
from stylegan_fast.interop.pickled_arrays import FUNCTIONS, Named, PickledArray, PickledDType, array, byte_order

# The three networks at 1024x1024, with their noise, take 0.33 GB.
LARGEST_FILE = 2 << 30
# They take some 20,000 instructions.
MOST_INSTRUCTIONS = 300_000
_LONGEST_NUMBER = 8  # bytes

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd"}
_END = object()


class _Mark:
    """Where a run of stack entries begins."""


@dataclass
class Instance:
    """An object of a class the caller allowed: the class's name and the state the file has for it."""

    class_name: str
    state: Any = None


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


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, PickledArray) else value


class _Machine:
    def __init__(self, content: bytes, classes: Container[str]) -> None:
        self.content = content
        self.classes = classes
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

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
        known = name in FUNCTIONS or name in ("numpy ndarray", "collections OrderedDict", "dnnlib.util EasyDict")
        if not known and name not in self.classes:
            raise UserError(f"asks for {name!r:.120}, which is none of what a pickle of networks needs; not executed")
        self.push(Named(name))

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
        if not isinstance(function, Named) or function.name not in FUNCTIONS or type(arguments) is not tuple:
            raise UserError(f"calls {getattr(function, 'name', type(function).__name__)!r:.80}; not executed")
        result = FUNCTIONS[function.name](*arguments)
        if type(result) is bytes:
            self.spend(len(result))
        self.push(result)

    def spend(self, size: int) -> None:
        """Bytes made of texts are copies, which a file could ask for again and again."""
        self.copied += size
        if self.copied > len(self.content):
            raise UserError("the same text again and again as bytes, more than the file has")

    def new_object(self) -> None:
        named, arguments = self.popped(2)
        if not isinstance(named, Named) or arguments != ():
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
        elif isinstance(target, PickledArray):
            if type(state) is tuple and state and type(state[-1]) is str:
                self.spend(len(state[-1]))
            target.value = array(*state)
        elif isinstance(target, PickledDType):
            target.order = byte_order(state)
        elif type(target) is not dict:
            raise TypeError(f"state for a {type(target).__name__}")


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
