"""The schedule equals the official one, number for number, and keeps its shape when made short."""

import pytest

from stylegan_fast.training.schedule import LEARNING_RATE, Schedule
from tests import golden_data as golden


def official(config: str, num_ranks: int) -> Schedule:
    """The settings of a row's `config`."""
    if config == "defaults-r128-rampup1000-max64:2":
        tables = {"batch_table": {0: 16}, "lr_table": {0: 0.001}, "max_batch_per_rank": {64: 2}}
        return Schedule(128, num_ranks=num_ranks, initial_resolution=4, lr_rampup_kimg=1000, **tables)
    if config == "ffhq1024-wgangp":
        capped = {resolution: min(lr, 0.002) for resolution, lr in LEARNING_RATE.items()}
        return Schedule(1024, num_ranks=num_ranks, lr_table=capped)
    return Schedule({"ffhq1024": 1024, "ffhq256": 256}[config], num_ranks=num_ranks)


def test_schedule_equals_every_official_row_exactly() -> None:
    rows = golden.table("schedule")
    assert len(rows) == 3510
    for row in rows:
        phase = official(row["config"], int(row["num_gpus"])).at(int(row["cur_nimg"]))
        ours = (phase.lod, phase.resolution, phase.batch, phase.lr, phase.lr, phase.tick_kimg)
        columns = ("lod", "resolution", "minibatch", "G_lrate", "D_lrate", "tick_kimg")
        assert ours == tuple(float(row[column]) for column in columns), row


@pytest.mark.parametrize("num_ranks", [1, 8])
def test_optimizers_start_anew_where_the_official_ones_do(num_ranks: int) -> None:
    rows = [row for row in golden.table("schedule_optimizer_resets") if int(row["num_gpus"]) == num_ranks]
    schedule, images, iteration, levels = Schedule(1024, num_ranks=num_ranks), 0, 0, None
    for row in rows:
        while row["config"] == "ffhq1024":
            phase = schedule.at(images)
            if phase.levels != levels:
                break
            images, iteration = images + 4 * phase.batch, iteration + 4
        else:  # the end: nothing changes any more, so the rest is one stride
            phase = schedule.at(images)
            groups = -(-(25_000_000 - images) // (4 * phase.batch))
            images, iteration = images + 4 * phase.batch * groups, iteration + 4 * groups
            assert schedule.at(images).levels == levels
        levels = phase.levels
        expected = [row[c] for c in ("iteration", "cur_nimg", "lod", "resolution", "minibatch", "G_lrate")]
        assert [iteration, images, phase.lod, phase.resolution, phase.batch, phase.lr] == [float(x) for x in expected]


@pytest.mark.parametrize("total_kimg", [20.0, 250.0, 50000.0])
def test_a_scaled_schedule_is_the_official_one_on_another_time_axis(total_kimg: float) -> None:
    full, scaled = Schedule(256), Schedule(256, total_kimg)
    for kimg in range(0, 25000, 37):
        expected, got = full.at(kimg * 1000), scaled.at(round(kimg * total_kimg / 25))
        # the nearest whole image: lod moves by 1 in 600 kimg of 25,000
        assert got.lod == pytest.approx(expected.lod, abs=1e-3 * 25000 / 600 / total_kimg)
    assert scaled.at(round(total_kimg * 1000)).lod == 0.0


def test_batch_and_lr_given_hold_at_every_resolution() -> None:
    schedule = Schedule(256, batch=12, lr=0.5)
    phases = [schedule.at(kimg * 1000) for kimg in range(0, 9000, 300)]
    assert {(phase.batch, phase.lr) for phase in phases} == {(12, 0.5)}


def test_a_batch_is_a_multiple_of_the_ranks() -> None:
    assert {Schedule(1024, num_ranks=3).at(kimg * 1000).batch % 3 for kimg in range(0, 9000, 100)} == {0}


def test_the_smallest_network_does_not_grow() -> None:
    assert Schedule(8).at(0).lod == 0.0
    assert Schedule(64, initial_resolution=64).at(0).resolution == 64


def test_a_short_run_reports_about_a_hundred_times() -> None:
    assert Schedule(32, 20.0).at(10_000).tick_kimg == 0.2


@pytest.mark.parametrize("wrong", [{"resolution": 48}, {"resolution": 64, "total_kimg": 0.0}])
def test_wrong_arguments_are_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"Schedule: (resolution|total_kimg) must be"):
        Schedule(**wrong)
