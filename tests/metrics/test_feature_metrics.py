"""FID, KID, Inception Score, precision and recall against formulas written anew, and against torch-fidelity."""

import importlib
import types

import numpy as np
import pytest
import torch

from stylegan_fast.metrics.detector import Detector
from stylegan_fast.metrics.features import AllFeatures, Moments
from stylegan_fast.metrics.fid import frechet_distance
from stylegan_fast.metrics.image_metrics import FrechetInceptionDistance, Setting
from stylegan_fast.metrics.inception_score import ClassProbabilities
from stylegan_fast.metrics.kid import kernel_distance
from stylegan_fast.metrics.precision_recall import precision_recall

ANY = Detector(torch.nn.Identity(), "any", "0")


def fidelity(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(f"torch_fidelity.metric_{name}")
    except (ImportError, RuntimeError) as missing:  # RuntimeError: a torchvision built for another torch
        pytest.skip(f"torch-fidelity cannot be imported: {missing}")


def features(count: int, width: int, seed: int, rank: int | None = None) -> np.ndarray:
    """float32 ``[count, width]`` with a covariance of this rank and a mean far from 0."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(width if rank is None else rank, width))
    return (rng.normal(size=(count, mix.shape[0])) @ mix + 5 + rng.normal(size=width)).astype(np.float32)


def moments(rows: np.ndarray, block: int = 64) -> Moments:
    found = Moments(ANY)
    for first in range(0, len(rows), block):
        found.absorb(rows[first : first + block])
    return found


# ---------------------------------------------------------------- statistics


def test_streamed_moments_are_numpys() -> None:
    rows = features(333, 7, 0).astype(np.float64) + 1e4  # a mean that would cost sums of squares eight digits
    found = moments(rows)
    assert np.allclose(found.mean(), rows.mean(axis=0), rtol=1e-14)
    assert np.allclose(found.covariance(), np.cov(rows, rowvar=False), rtol=1e-10, atol=1e-10)


def test_moments_survive_their_way_through_the_cache() -> None:
    found, again = moments(features(100, 5, 0)), Moments(ANY)
    again.restore({name: np.array(array) for name, array in found.arrays().items()})
    assert np.array_equal(found.mean(), again.mean())
    assert np.array_equal(found.covariance(), again.covariance())


# ---------------------------------------------------------------- FID


def distance_of(a: np.ndarray, b: np.ndarray) -> float:
    setting = Setting(16, len(a), 0, torch.device("cpu"), ANY)
    return FrechetInceptionDistance(setting).numbers(moments(a), moments(b))["fid"]


def test_fid_is_scipys_formula() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = features(500, 20, 0), features(400, 20, 1)
    cov_a, cov_b = (np.cov(rows.astype(np.float64), rowvar=False) for rows in (a, b))
    root = linalg.sqrtm(cov_a @ cov_b)
    difference = a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64)
    expected = difference @ difference + np.trace(cov_a + cov_b - 2 * root.real)
    assert distance_of(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("ranks", [(None, None), (6, None), (6, 3)], ids=["regular", "one singular", "both singular"])
def test_fid_is_torch_fidelitys(ranks: tuple[int | None, int | None]) -> None:
    theirs = fidelity("fid")
    a, b = features(300, 20, 0, ranks[0]).astype(np.float64), features(300, 20, 1, ranks[1]).astype(np.float64)
    statistics = [theirs.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (a, b)]
    expected = theirs.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert distance_of(a, b) == pytest.approx(expected, rel=1e-6)


def test_fid_of_singular_covariances_is_the_closed_form_of_those_that_commute() -> None:
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    one = np.concatenate([rng.uniform(1, 100, 10), np.zeros(30)])
    other = np.concatenate([np.zeros(5), rng.uniform(1e-4, 1, 20), np.zeros(15)])
    expected = ((np.sqrt(one) - np.sqrt(other)) ** 2).sum()
    found = frechet_distance(np.zeros(40), axes * one @ axes.T, np.zeros(40), axes * other @ axes.T)
    assert found == pytest.approx(expected, rel=1e-9)


def test_fid_of_fewer_images_than_features_to_themselves_is_zero() -> None:
    rows = features(10, 50, 0)
    assert abs(distance_of(rows, rows)) < 1e-9 * np.trace(np.cov(rows, rowvar=False))


# ---------------------------------------------------------------- KID


def test_kid_of_one_subset_is_the_unbiased_estimate_pair_by_pair() -> None:
    a, b = features(12, 4, 0).astype(np.float64), features(12, 4, 1).astype(np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / 4 + 1) ** 3

    within = [np.mean([kernel(s[i], s[j]) for i in range(12) for j in range(12) if i != j]) for s in (a, b)]
    expected = sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b, subsets=3) == (pytest.approx(expected, rel=1e-12), pytest.approx(0, abs=1e-9))


def test_kid_is_torch_fidelitys() -> None:
    theirs = fidelity("kid")
    a, b = features(300, 16, 0), features(250, 16, 1)
    options = {"kid_subsets": 20, "kid_subset_size": 100, "rng_seed": 2020, "verbose": False}
    kernel = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    rows = [torch.from_numpy(x.astype(np.float64)) for x in (a, b)]
    expected = theirs.kid_features_to_metric(*rows, **options, **kernel, kid_kernel_poly_coef0=1)
    mean, deviation = kernel_distance(a, b, 20, 100, seed=2020)
    assert mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
    assert deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-6)


# ---------------------------------------------------------------- Inception Score


def scores(p: np.ndarray, block: int = 64) -> np.ndarray:
    found = ClassProbabilities(ANY, len(p))
    for first in range(0, len(p), block):
        found.absorb(p[first : first + block])
    return found.scores()


def probabilities(count: int) -> np.ndarray:
    logits = 3 * np.random.default_rng(0).normal(size=(count, 7))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [10, 333, 1000])
def test_the_inception_score_is_the_formula_on_each_tenth(count: int) -> None:
    p = probabilities(count)
    expected = []
    for part in range(10):
        rows = p[part * count // 10 : (part + 1) * count // 10]
        expected.append(np.exp(np.mean((rows * np.log(rows / rows.mean(axis=0))).sum(axis=1))))
    assert np.allclose(scores(p), expected, rtol=1e-12)


def test_the_inception_score_is_torch_fidelitys() -> None:
    theirs = fidelity("isc")
    p = probabilities(640)
    expected = theirs.isc_features_to_metric(torch.from_numpy(np.log(p)), splits=10, shuffle=False)
    assert scores(p).mean() == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert scores(p).std() == pytest.approx(expected["inception_score_std"], rel=1e-6)


def test_images_sure_of_one_class_each_score_the_number_of_classes() -> None:
    p = np.tile(np.eye(4), (10, 1))
    assert np.allclose(scores(p), 4.0)


# ---------------------------------------------------------------- precision and recall


@pytest.mark.parametrize(("fakes", "reals"), [(70, 90), (5000, 300)])
def test_precision_and_recall_are_those_of_the_whole_table(fakes: int, reals: int) -> None:
    a, b = features(fakes, 4, 0).astype(np.float64), features(reals, 4, 1).astype(np.float64)

    def within(points: np.ndarray, members: np.ndarray) -> float:
        own = np.linalg.norm(members[:, None] - members[None], axis=2)
        radii = np.sort(own, axis=1)[:, 3]
        far = np.sqrt(((points[:, None] - members[None]) ** 2).sum(axis=2))
        return float((far <= radii).any(axis=1).mean())

    if fakes == 5000:
        a = a[:, :2]
        b = b[:, :2]
        assert precision_recall(a, b)[0] == pytest.approx(within(a, b), abs=1e-6)
    else:
        assert precision_recall(a, b) == (pytest.approx(within(a, b)), pytest.approx(within(b, a)))


def test_precision_and_recall_are_torch_fidelitys() -> None:
    theirs = fidelity("prc")
    a, b = (torch.from_numpy(features(count, 6, seed).astype(np.float64)) for count, seed in ((200, 0), (150, 1)))
    expected = theirs.calculate_precision_recall_full(a, b)
    assert precision_recall(a.numpy(), b.numpy()) == pytest.approx(expected, abs=1e-6)


def test_all_features_come_back_in_order() -> None:
    store, rows = AllFeatures(ANY), features(100, 5, 0)
    store.absorb(rows[:64])
    store.absorb(rows[64:])
    assert np.array_equal(store.rows(), rows)
