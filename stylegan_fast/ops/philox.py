"""Normal numbers from a counter instead of a state: drawn where they are needed, and again instead of being kept.

Philox4x32-10 is a permutation of 128-bit counters, of which every 64-bit key selects another (Salmon, Moraes, Dror,
Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"). With r the four words that the counter (q, 0) becomes under
the key seed[n], q and the seed as two words, the low one first, sample n's numbers 4q to 4q+3 are

    u_k = ((r_k >> 9) + 1/2) * 2^-23
    sqrt(-2 log u_0) * (cos(2 pi u_1), sin(2 pi u_1)),  sqrt(-2 log u_2) * (cos(2 pi u_3), sin(2 pi u_3))

(Box, Muller 1958).

A map is drawn by a kernel of its own and not inside `adain`, plane by plane, because all C channels of a sample share
it: the fifty or so instructions of a number would be repeated 16 to 512 times (one thread with AVX-512: 0.5 ns a
number, against 0.8 ns that all of a pass of `adain` takes per number of x). As a map it is 1/C of x's bytes and stays
in the cache.

The words are equal everywhere; the numbers are those of exact arithmetic to within 4 * 2^-23 of their own size, on all
backends and devices. None is larger than sqrt(48 log 2) = 5.77.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.arguments import check_seed, wrong_value

SEED_DTYPES = (torch.int64,)
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = 0xFFFFFFFF


def philox_normal(seed: Tensor, height: int, width: int) -> Tensor:
    """Normal numbers, mean 0 and variance 1, that depend on their sample's seed and their pixel alone.

    Not on the batch they are drawn in, not on threads, and but for rounding not on the backend or the device.

    Args:
        seed: int64 ``[N]``, one number per sample, any; equal seeds give equal maps.
        height, width: of a map; sizes with equal products hold the same numbers in the same order.

    Returns:
        float32 ``[N, 1, height, width]`` on seed's device. It has no gradient.

    Raises:
        TypeError, ValueError: an argument of the wrong type or shape.
        RuntimeError: the backend named with `use_backend` cannot run this call.
    """
    check_arguments(seed, height, width)
    way = library.choose("philox_normal", seed, dtypes=SEED_DTYPES)
    if way == "reference":
        return philox_normal_reference(seed, height, width)
    if way == "dispatcher":
        y: Tensor = torch.ops.stylegan_fast.philox_normal(seed, height, width, library.current_backend())
        return y
    return PhiloxNormal.launch(seed, height, width, way)


class PhiloxNormal:
    """What the op ``stylegan_fast::philox_normal`` runs; it has no gradient, and so is no autograd function."""

    @staticmethod
    def launch(seed: Tensor, height: int, width: int, backend: str) -> Tensor:
        seed = seed.contiguous()
        y = empty_result(seed, height, width)
        arguments = (seed.shape[0], height * width, seed.data_ptr(), y.data_ptr())
        library.launch(backend, "philox_normal", seed, *arguments)
        return y


def empty_result(seed: Tensor, height: int, width: int) -> Tensor:
    return torch.empty([seed.shape[0], 1, height, width], dtype=torch.float32, device=seed.device)


def philox_normal_reference(seed: Tensor, height: int, width: int) -> Tensor:
    """`philox_normal` in plain PyTorch: arguments, result and errors are the same."""
    check_arguments(seed, height, width)
    count = height * width
    counter = torch.arange((count + 3) // 4, device=seed.device)
    zero = torch.zeros_like(counter)
    words = philox4x32((*_words_of(counter), zero, zero), _words_of(seed[:, None]))
    numbers = torch.stack([*_box_muller(words[0], words[1]), *_box_muller(words[2], words[3])], dim=-1)
    return numbers.flatten(1)[:, :count].reshape(seed.shape[0], 1, height, width).contiguous()


def philox4x32(counter: tuple[Tensor, ...], key: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Philox4x32-10: the four words that counters of four words become under keys of two; int64, 0 to 2^32 - 1."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, _MULTIPLIERS[0])
        high2, low2 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high2 ^ c1 ^ k0, low2, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def _words_of(number: Tensor) -> tuple[Tensor, Tensor]:
    """The low and the high word of 64-bit numbers."""
    return number & _WORD, (number >> 32) & _WORD


def _product(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """The high and the low word of a product of two words, which is more than an int64 holds."""
    low = (word & 0xFFFF) * multiplier
    upper = (word >> 16) * multiplier + (low >> 16)  # below 2^49
    return upper >> 16, ((upper & 0xFFFF) << 16) | (low & 0xFFFF)


def _box_muller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two normal numbers of two words."""
    radius = (-2 * _unit_interval(a).log()).sqrt()
    # The angle as a number of quarter turns and less than an eighth more, both exact, so that the sine of half a turn
    # is as precise as that of none.
    turns = _unit_interval(b)
    quarters = (4 * turns).round()
    angle = (turns - quarters / 4) * (2 * math.pi)
    sine, cosine = angle.sin(), angle.cos()
    odd = quarters % 2 == 1
    sign = torch.where(quarters % 4 >= 2, -radius, radius)
    return sign * torch.where(odd, -sine, cosine), sign * torch.where(odd, cosine, sine)


def _unit_interval(word: Tensor) -> Tensor:
    """u of the formula, exact in float32 and never 0 or 1."""
    return ((word >> 9).to(torch.float32) + 0.5) * 2.0**-23


def check_arguments(seed: Tensor, height: int, width: int) -> None:
    check_seed("philox_normal", "seed", seed)
    if seed.ndim != 1:
        raise wrong_value("philox_normal", "seed", seed, "[N]")
    for name, size in (("height", height), ("width", width)):
        if size < 0:
            raise wrong_value("philox_normal", name, size, "at least 0")
