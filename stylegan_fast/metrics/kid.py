"""Kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401)."""

from __future__ import annotations

import numpy as np

SUBSETS = 100
SUBSET_SIZE = 1000


def kernel_distance(
    fakes: np.ndarray,
    reals: np.ndarray,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean and standard deviation, over random subsets, of the unbiased squared maximum mean discrepancy.

    ::

        k(x, y) = (x . y / D + 1)^3
        MMD^2   = mean over x != x' of k(x, x') + mean over y != y' of k(y, y') - 2 mean of k(x, y)

    Args:
        fakes, reals: features ``[N, D]``, ``[M, D]``.
        subsets: how many pairs of subsets are drawn.
        subset_size: images in each; all of the smaller set where that has fewer.
        seed: of ``numpy.random.RandomState``, which draws a subset of the fakes, then one of the reals, and so on.
    """
    size = min(subset_size, len(fakes), len(reals))
    draws = np.random.RandomState(seed)
    found = np.empty(subsets)
    for index in range(subsets):
        x = fakes[draws.choice(len(fakes), size, replace=False)].astype(np.float64)
        y = reals[draws.choice(len(reals), size, replace=False)].astype(np.float64)
        found[index] = _mean_off_diagonal(x) + _mean_off_diagonal(y) - 2 * _kernel(x, y).mean()
    return float(found.mean()), float(found.std())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    kernel: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def _mean_off_diagonal(x: np.ndarray) -> float:
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))
