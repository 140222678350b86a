"""Frechet inception distance (Heusel et al. 2017, arXiv 1706.08500).

::

    FID = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

of the means m and covariances C of two sets of features.
"""

from __future__ import annotations

import numpy as np


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """The distance of two normal distributions, means ``[D]``, covariances ``[D, D]``, which may be singular.

    The trace of (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2). That needs no root of a matrix
    that is not symmetric, and the rounding errors of singular covariances are not magnified by a root: eigenvalues
    below D eps of the largest are the zeros that they stand for.
    """
    root1, root2 = _root(cov1), _root(cov2)
    shared = np.linalg.svd(root1 @ root2, compute_uv=False).sum()
    difference = np.asarray(mean1, np.float64) - np.asarray(mean2, np.float64)
    return float(difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * shared)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    smallest = values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
    values = np.where(values > smallest, values, 0.0)
    root: np.ndarray = (vectors * np.sqrt(values)) @ vectors.T
    return root
