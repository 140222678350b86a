"""Linear separability (paper section 4.2): whether attributes of pictures can be told by a plane in latent space.

For each attribute a classifier labels drawn pictures, the half it is surest of is kept, and a linear support vector
machine is fitted to tell the label Y from the latent; X is what it says::

    score = 2^(sum over attributes of H(Y | X)),    H(Y | X) = max(H(Y) - I(X; Y), 0) in bits

1 where planes tell every attribute, 2 for each attribute of which they tell nothing. Needs scikit-learn.
"""

from __future__ import annotations

import warnings

import numpy as np

from stylegan_fast.errors import UserError

IMAGES = 200_000
KEPT = 0.5


def require_scikit_learn(what: str) -> None:
    """Raises ``UserError`` where scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise UserError(f"{what} needs scikit-learn: pip install 'stylegan_fast[metrics]'") from None


def entropy(p: np.ndarray) -> float:
    """Of a table of probabilities, in bits."""
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def conditional_entropy(table: np.ndarray) -> float:
    """H(Y | X) in bits of a joint table ``[X, Y]`` of probabilities or counts."""
    table = table / table.sum()
    of_x, of_y = table.sum(axis=1), table.sum(axis=0)
    mutual_information = entropy(of_x) + entropy(of_y) - entropy(table)
    return max(entropy(of_y) - mutual_information, 0.0)


def attribute_entropy(latents: np.ndarray, logits: np.ndarray, seed: int = 0) -> float:
    """H(Y | X) of one attribute.

    Args:
        latents: ``[N, D]``.
        logits: ``[N]``, the classifier's; positive where the picture has the attribute, far from 0 where it is sure.
        seed: of the support vector machine.

    0 where all of the kept pictures have the same label, which is then known without looking.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    kept = np.argsort(-np.abs(logits), kind="stable")[: max(int(KEPT * len(logits)), 1)]
    x, y = np.asarray(latents[kept], np.float64), logits[kept] > 0
    if y.all() or not y.any():
        return 0.0
    with warnings.catch_warnings():
        # As published, the fit stops after so many steps whether or not the last digits have settled.
        warnings.simplefilter("ignore", ConvergenceWarning)
        said = LinearSVC(random_state=seed).fit(x, y).predict(x)
    table = np.array([[np.sum((said == a) & (y == b)) for b in (False, True)] for a in (False, True)])
    return conditional_entropy(table)


def separability(latents: np.ndarray, logits: np.ndarray, seed: int = 0) -> tuple[float, list[float]]:
    """The score, and H(Y | X) of each attribute, of latents ``[N, D]`` and logits ``[N, A]``."""
    entropies = [attribute_entropy(latents, logits[:, attribute], seed) for attribute in range(logits.shape[1])]
    return float(2 ** sum(entropies)), entropies
