"""Measuring a network: what changes the numbers, what does not, and what is kept."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan_fast.data import Dataset, open_dataset
from stylegan_fast.distributed import ALONE
from stylegan_fast.errors import UserError
from stylegan_fast.metrics import Drawing, MetricOptions, compute_metrics, load_detector, parse_metrics
from stylegan_fast.metrics.collector import Collector
from stylegan_fast.metrics.detector import as_rgb
from stylegan_fast.metrics.features import AllFeatures, Moments
from stylegan_fast.metrics.images import drawn_blocks, read_blocks
from stylegan_fast.metrics.inception_score import ClassProbabilities
from stylegan_fast.metrics.real_cache import RealCache
from stylegan_fast.metrics.swd import Descriptors
from stylegan_fast.models import Generator
from tests.metrics.detectors import BrightnessClassifier, PixelsAsLpips, script

PIXELS = ["swd", "msssim"]
FEATURES = ["fid50k", "kid50k", "is50k", "pr50k"]


@pytest.fixture
def faces() -> Dataset:
    dataset = open_dataset("faces:120", resolution=16)
    yield dataset
    dataset.close()


def options(detector_file: Path, **changes: object) -> MetricOptions:
    settings = {"num": 100, "detector": load_detector(detector_file, trusted=True), **changes}
    return MetricOptions(**settings)


def results(rows: list[dict]) -> dict[str, float]:
    return {name: value for row in rows for name, value in row["results"].items()}


# ---------------------------------------------------------------- streams


def test_drawn_images_do_not_depend_on_batch_or_number_of_images(generator: Generator) -> None:
    drawing = Drawing(seed=7)
    whole = torch.cat([block.images for block in drawn_blocks(generator, 130, drawing, 64, ALONE)])
    small = torch.cat([block.images for block in drawn_blocks(generator, 100, drawing, 9, ALONE)])
    # Another batch may round differently, and carry a value over to the next whole number.
    assert (whole[:100].int() - small.int()).abs().max() <= 1
    other = torch.cat([block.images for block in drawn_blocks(generator, 100, Drawing(seed=8), 9, ALONE)])
    assert (whole[:100].int() - other.int()).abs().max() > 10


def test_real_images_come_in_order_and_then_mirrored(faces: Dataset) -> None:
    blocks = list(read_blocks(faces, range(100), 180, torch.device("cpu"), ALONE))
    images = torch.cat([block.images for block in blocks])
    plain = torch.from_numpy(faces.read(range(100), 16))
    assert [len(block.images) for block in blocks] == [64, 64, 52]
    assert torch.equal(images[:100], plain)
    assert torch.equal(images[100:], plain[:80].flip(3))


def test_detectors_see_three_channels() -> None:
    gray = torch.randint(256, (2, 1, 4, 4), dtype=torch.uint8)
    assert torch.equal(as_rgb(gray), gray.repeat(1, 3, 1, 1))
    clear = torch.zeros(1, 4, 2, 2, dtype=torch.uint8)
    assert (as_rgb(clear) == 255).all()
    clear[:, 3] = 255
    assert (as_rgb(clear) == 0).all()


# ---------------------------------------------------------------- all metrics


def test_every_image_metric_gives_its_numbers_and_what_changes_them(
    generator: Generator, faces: Dataset, detector_file: Path
) -> None:
    rows = compute_metrics(generator, [*PIXELS, *FEATURES], faces, options(detector_file))
    assert [row["metric"] for row in rows] == [*PIXELS, *FEATURES]
    numbers = results(rows)
    assert set(numbers) == {
        "swd", "swd_16", "msssim", "msssim_reals", "fid", "kid", "kid_std", "is", "is_std", "precision", "recall",
    }  # fmt: skip
    assert all(np.isfinite(value) for value in numbers.values())
    assert numbers["fid"] > 0
    assert 1 <= numbers["is"] <= 5
    assert 0 <= numbers["precision"] <= 1
    for row in rows:
        named = {"images", "real_images", "order", "mirror", "resize", "detector", "noise", "truncation_psi", "seed"}
        assert named | {"versions", "data", "resolution"} <= row.keys()
    assert rows[2]["detector"]["sha256"] == load_detector(detector_file, trusted=True).sha256
    assert (rows[0]["order"], rows[2]["order"], rows[4]["order"]) == ("shuffled", "file", None)


def test_the_numbers_do_not_depend_on_the_batch(generator: Generator, faces: Dataset, detector_file: Path) -> None:
    names = [*PIXELS, *FEATURES]
    one, other = (
        results(compute_metrics(generator, names, faces, options(detector_file, batch=batch))) for batch in (64, 11)
    )
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=5e-3, abs=1e-4), name


def test_a_set_measured_against_itself_is_at_distance_zero(faces: Dataset, detector_file: Path) -> None:
    """A generator that draws the data: every distance is its best value."""
    detector = load_detector(detector_file, trusted=True)
    sides = []
    for _ in range(2):
        moments = Moments(detector)
        for block in read_blocks(faces, range(120), 120, torch.device("cpu"), ALONE):
            moments.absorb(moments.extract(block).numpy())
        sides.append(moments)
    assert np.array_equal(sides[0].covariance(), sides[1].covariance())


@pytest.mark.parametrize(
    "changes",
    [
        {"mirror": True},
        {"drawing": Drawing(seed=1)},
        {"drawing": Drawing(truncation_psi=0.5)},
        {"drawing": Drawing(noise_mode="none")},
        {"num": 100},
    ],
    ids=["mirror", "seed", "truncation", "noise", "images"],
)
def test_what_is_recorded_changes_the_number(
    changes: dict, generator: Generator, faces: Dataset, detector_file: Path
) -> None:
    generator.mapping.w_avg.normal_()
    names = ["fid50k"]
    # 150 images of 120: with mirroring there are more real ones.
    plain, other = (
        results(compute_metrics(generator, names, faces, options(detector_file, **{"num": 150, **some})))["fid"]
        for some in ({}, changes)
    )
    assert plain != other


def test_a_conditional_network_takes_the_classes_of_the_data_or_one_of_them(detector_file: Path) -> None:
    torch.manual_seed(0)
    G = Generator(16, z_dim=8, w_dim=8, c_dim=8, channel_base=64, channel_max=8, mapping_layers=2)
    dataset = open_dataset("faces:300", resolution=16, use_labels=True)
    try:
        rows = compute_metrics(G, ["fid50k"], dataset, options(detector_file, num=60))
        one = compute_metrics(G, ["fid50k"], dataset, options(detector_file, num=60, drawing=Drawing(class_index=2)))
        share = int(dataset.labels(range(300))[:, 2].sum())
    finally:
        dataset.close()
    assert (rows[0]["real_images"], one[0]["real_images"]) == (60, min(share, 60))
    assert one[0]["class"] == 2
    with pytest.raises(UserError, match="8 classes, but no data"):
        compute_metrics(G, ["msssim"], None, MetricOptions(num=10))


def test_latent_metrics_run_end_to_end(generator: Generator, tmp_path: Path, faces: Dataset) -> None:
    lpips = load_detector(script(PixelsAsLpips(), tmp_path / "lpips.pt"), trusted=True)
    names = ["ppl_zfull", "ppl_zend", "ppl_wfull", "ppl_wend"]
    rows = compute_metrics(generator, names, None, MetricOptions(num=70, lpips=lpips))
    assert all(value > 0 for value in results(rows).values())
    assert rows[0]["pairs"] == 70
    pytest.importorskip("sklearn")
    classifier = load_detector(script(BrightnessClassifier(), tmp_path / "bright.pt"), trusted=True)
    (row,) = compute_metrics(generator, ["ls"], faces, MetricOptions(num=300, classifier=classifier))
    assert 1 <= row["results"]["ls_w"] <= 2
    assert 1 <= row["results"]["ls_z"] <= 2


# ---------------------------------------------------------------- the cache


def test_real_statistics_are_read_once(
    generator: Generator, faces: Dataset, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compute_metrics(generator, FEATURES, faces, options(detector_file))
    monkeypatch.setattr(faces, "read", lambda *_: pytest.fail("the data were read again"))
    again = compute_metrics(generator, FEATURES, faces, options(detector_file))
    assert results(again) == results(first)


def test_a_damaged_cache_file_counts_as_not_there(
    generator: Generator, faces: Dataset, detector_file: Path, cache_of_the_test: Path
) -> None:
    first = compute_metrics(generator, ["fid50k"], faces, options(detector_file))
    (file,) = (cache_of_the_test / "metrics").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = compute_metrics(generator, ["fid50k"], faces, options(detector_file))
    assert results(again) == results(first)


def test_another_detector_finds_nothing_in_the_cache(detector_file: Path, tmp_path: Path) -> None:
    cache, key = RealCache(tmp_path), {"data": "x", "detector": "a"}
    moments = Moments(load_detector(detector_file, trusted=True))
    moments.absorb(np.ones((3, 2)))
    cache.save(moments, key)
    assert cache.load(Moments(moments.detector), key)
    assert not cache.load(Moments(moments.detector), {**key, "detector": "b"})


# ---------------------------------------------------------------- memory, mistakes


def test_what_is_kept_of_images_does_not_grow_with_their_number(detector_file: Path) -> None:
    """Sums stay as large as they are; what is bulky lies in a temporary file and is mapped."""
    detector = load_detector(detector_file, trusted=True)

    def bytes_kept(collector: Collector) -> int:
        kept = [value for value in vars(collector).values() if isinstance(value, np.ndarray | list)]
        return len(pickle.dumps(kept))

    rng = np.random.default_rng(0)
    for collector in (Moments(detector), ClassProbabilities(detector, 64 * 40), AllFeatures(detector), Descriptors()):
        shape = (64, 1, 2, 3, 7, 7) if isinstance(collector, Descriptors) else (64, 5)
        for _ in range(40):
            collector.absorb(rng.random(shape, dtype=np.float32))
        if not isinstance(collector, Descriptors):  # 2,560 rows of 5 numbers would be 51 kB
            assert bytes_kept(collector) < 4096, type(collector)
        stored = collector.levels() if isinstance(collector, Descriptors) else []
        stored += [collector.rows()] if isinstance(collector, AllFeatures) else []
        assert all(isinstance(rows, np.memmap) for rows in stored)


def test_unknown_metrics_are_named() -> None:
    assert parse_metrics("swd, msssim,swd") == ["swd", "msssim"]
    for wrong in ("fid", "", ","):
        with pytest.raises(UserError, match="--metrics"):
            parse_metrics(wrong)
