"""What the options of a run come to."""

import dataclasses
from pathlib import Path

import pytest

from stylegan_fast.errors import UserError
from stylegan_fast.models import LADDER
from stylegan_fast.train import CONFIGS, OBJECTIVE_NAMES
from stylegan_fast.train import PRECISIONS as PRECISION_NAMES
from stylegan_fast.training.config import TrainConfig, config_for_resume, config_from_options, schedule_of
from stylegan_fast.training.losses import OBJECTIVES
from stylegan_fast.training.precision import PRECISIONS

DATA = {"data": "some.zip"}  # not the built-in faces, which have a preset


def test_the_command_line_offers_what_there_is() -> None:
    assert tuple(LADDER) == CONFIGS
    assert tuple(OBJECTIVES) == OBJECTIVE_NAMES
    assert PRECISIONS == PRECISION_NAMES


def test_without_options_a_run_is_the_papers() -> None:
    config = config_from_options(DATA, "cuda")
    assert config == dataclasses.replace(TrainConfig(**DATA), growth_kimg=25000.0)
    assert (config.gamma, config.mixing_prob, config.map_depth, config.objective) == (10.0, 0.9, 8, "nonsaturating")


@pytest.mark.parametrize("name", "abcdef")
def test_a_configuration_calls_for_its_own_settings(name: str) -> None:
    config = config_from_options({**DATA, "config": name}, "cuda")
    assert config.map_depth == (0 if name in "ab" else 8)
    assert config.mixing_prob == (0.9 if name == "f" else 0.0)
    assert config.objective == ("wgan-gp" if name == "a" else "nonsaturating")
    assert config.gamma == (0.0 if name == "a" else 10.0)
    assert config.kimg == (12000.0 if name == "a" else 25000.0)
    assert schedule_of(config, 1024, 1).at(0).resolution == (4 if name == "a" else 8)


def test_the_preset_of_the_faces_gives_way_to_what_a_configuration_calls_for() -> None:
    assert config_from_options({"config": "c"}, "cpu").map_depth == 4
    config = config_from_options({"config": "b"}, "cpu")
    assert (config.map_depth, config.mixing_prob, config.gamma, config.resolution, config.kimg) == (0, 0, 1.0, 32, 60)
    assert config_from_options({"config": "a"}, "cpu").kimg == 60
    assert config_from_options({"config": "b", "map_depth": 8}, "cpu").map_depth == 8  # Table 4's "traditional 8"
    assert config_from_options({"resolution": 64}, "cuda").kimg == 2000
    assert config_from_options({}, "cuda").resolution == 128


@pytest.mark.parametrize(
    ("objective", "called_for"),
    [
        ("nonsaturating", {}),
        ("hinge", {}),
        ("wgan", {"gamma": 10, "clip": 1}),
        ("wgan-gp", {"gamma": 0, "gp": 10}),
    ],
)
def test_an_objective_comes_with_what_it_needs(objective: str, called_for: dict[str, float]) -> None:
    expected = {"gamma": 10, "gp": 0, "clip": None, "n_critic": 1, "g_lr": None, **called_for}
    config = config_from_options({**DATA, "objective": objective}, "cpu")
    assert {name: getattr(config, name) for name in expected} == expected
    given = {"gamma": 5.0, "gp": 1.0, "clip": 0.3, "n_critic": 3, "g_lr": 0.002}
    config = config_from_options({**DATA, "objective": objective, **given}, "cpu")
    assert {name: getattr(config, name) for name in expected} == given


def test_growth_is_scaled_by_its_own_length_and_can_be_left_out() -> None:
    config = config_from_options({**DATA, "kimg": 9.0, "growth_kimg": 50.0}, "cpu")
    schedule = schedule_of(config, 64, 1)
    assert schedule.growth_kimg() == pytest.approx(3 * 2.4)
    assert schedule.at(1199).lod == 3.0
    still = schedule_of(dataclasses.replace(config, growing=False), 64, 1)
    assert (still.at(0).lod, still.at(0).resolution) == (0.0, 64)


def test_the_batch_is_shared_out_among_the_ranks() -> None:
    assert schedule_of(TrainConfig(batch=10), 64, 4).at(0).batch == 8
    with pytest.raises(UserError, match="fewer images a step than the 64 processes"):
        schedule_of(TrainConfig(), 1024, 64)


def test_a_resumed_run_may_use_its_machine_otherwise_but_is_the_same_run() -> None:
    saved = config_from_options({**DATA, "config": "e"}, "cpu").as_dict()
    allowed = {"batch_gpu": 2, "precision": "bf16", "keep": 3, "max_skipped": 5, "kimg": 30000.0, "threads": 1}
    config = config_for_resume(saved, allowed)
    assert {name: getattr(config, name) for name in allowed} == allowed
    for option, value in {"config": "f", "objective": "hinge", "growing": False, "r1_every": 16}.items():
        with pytest.raises(UserError, match=f"--{option.replace('_', '-')} .*the run was started with"):
            config_for_resume(saved, {option: value})


def test_paths_hold_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    paths = {"data": "images", "cache_dir": "cache"}
    config = config_from_options(paths, "cpu")
    assert (config.data, config.cache_dir) == (str(tmp_path / "images"), str(tmp_path / "cache"))
    saved = config_from_options({"data": "faces:40"}, "cpu")
    assert saved.data == "faces:40"
    config = config_for_resume(saved.as_dict(), paths)
    assert (config.data, config.cache_dir) == (str(tmp_path / "images"), str(tmp_path / "cache"))
    assert paths == {"data": "images", "cache_dir": "cache"}
