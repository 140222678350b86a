"""Seeds as people write them, and the latents they stand for."""

from __future__ import annotations

import hashlib
import re
import struct

import numpy as np

from stylegan_fast.errors import UserError

MAX_SEED = 2**32 - 1
_MAX_LISTED = 1_000_000  # more is a slip of the finger, and would fill the memory before an image is seen


def parse_ranges(text: str, option: str, largest: int = MAX_SEED) -> list[int]:
    """Whole numbers written like ``0,3,5-9``, in the order written.

    Raises ``UserError`` naming ``option`` for anything else, a range that runs backwards, or a number over ``largest``.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,20})\s*(?:-\s*(\d{1,20})\s*)?", part, flags=re.ASCII)
        if match is None:
            raise UserError(f"{option} {text!r}: {part.strip()!r} is not a number or a range; write it like 0,3,5-9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"{option} {text!r}: the range {first}-{last} runs backwards; write it as {last}-{first}")
        if last > largest:
            raise UserError(f"{option} {text!r}: {last} is too large; the largest is {largest}")
        if len(numbers) + last - first >= _MAX_LISTED:
            raise UserError(f"{option} {text!r}: more than {_MAX_LISTED} numbers; give them in several commands")
        numbers.extend(range(first, last + 1))
    return numbers


def latent_of_seed(seed: int, z_dim: int) -> np.ndarray:
    """float32 ``[z_dim]``: the first draws of NumPy's ``RandomState(seed)``, as other StyleGAN tools take them."""
    return np.random.RandomState(seed).randn(z_dim).astype(np.float32)


def class_of_seed(seed: int, c_dim: int) -> int:
    """The class a conditional network is asked for where none is given; uniform over the classes."""
    return int(np.random.RandomState([seed, c_dim]).randint(c_dim))


def keyed_seed(seed: int, *key: int | str) -> int:
    """A 63-bit seed from ``seed`` and a key; equal keys give equal seeds on every machine."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (seed, *key):
        encoded = part.encode() if isinstance(part, str) else struct.pack("<q", part)
        digest.update(struct.pack("<B", len(encoded)) + encoded)
    return int.from_bytes(digest.digest(), "little") >> 1
