"""``python benchmarks/overview.py``: all ops in the settings of networks, ours alone beside a copy, a line a setting.

A look that takes a minute or two on a GPU: three short rounds a shape. The numbers to quote against others come from
the benchmark of each op.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import adain_bench
import bias_act_bench
import click
import upfirdn2d_bench
from harness import timing
from harness.benchmark import Benchmark, Setting
from harness.command import output_file
from harness.networks import numbers
from harness.report import chip_words, write_json
from harness.session import Row, Session, measure_shape, start_session
from harness.shapes import RESOLUTIONS

from stylegan_fast.command import run
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError

EFFORT = timing.Effort(rounds=3, seconds=0.2)
SETTINGS = (("fp32", "contiguous"), ("bf16", "channels_last"), ("bf16", "contiguous"), ("fp32", "channels_last"))
FEW = (32, 64, 256, 1024)


@dataclass(frozen=True)
class Line:
    benchmark: Benchmark
    case: str
    dtype: str
    layout: str
    direction: str
    resolutions: tuple[int, ...]


def _lines() -> list[Line]:
    adain, bias_act, upfirdn2d = adain_bench.BENCHMARK, bias_act_bench.BENCHMARK, upfirdn2d_bench.BENCHMARK
    both = ("fwd", "bwd")
    found = [Line(adain, "epilogue", *setting, d, RESOLUTIONS) for setting in SETTINGS for d in both]
    for setting in SETTINGS[:2]:
        found += [Line(adain, case, *setting, d, FEW) for case in ("blurred", "up") for d in both]
        found += [Line(bias_act, "lrelu", *setting, d, FEW) for d in both]
        found += [Line(upfirdn2d, case, *setting, "fwd", FEW) for case in upfirdn2d.cases]
    return found


@click.command(help=f"{__doc__}".splitlines()[0].partition(": ")[2])
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda", show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images.")
@click.option("--ops", metavar="LIST", help="Of adain,bias_act,upfirdn2d. [default: all]")
@click.option("--resolutions", metavar="LIST", help="Only these. [default: all that a line has]")
@click.option("--seconds", type=click.FloatRange(min=0), default=120.0, show_default=True, help="Then stop.")
@click.option("--json", "json_path", metavar="PATH", help="Write the rows here.")
def main(
    device: str, batch: int, ops: str | None, resolutions: str | None, seconds: float, json_path: str | None
) -> None:
    json_file = None if json_path is None else output_file("--json", json_path)
    place, begun = choose_device(device), time.perf_counter()
    lines = _lines()
    known = list(dict.fromkeys(line.benchmark.op for line in lines))
    wanted = known if ops is None else ops.split(",")
    if unknown := [op for op in wanted if op not in known]:
        raise UserError(f"--ops: {unknown[0]!r} is unknown; choose from {','.join(known)}")
    sizes = set(RESOLUTIONS) if resolutions is None else set(numbers("--resolutions", resolutions, 4, 1024))
    rows: list[Row] = []
    for line in lines:
        if line.benchmark.op not in wanted:
            continue
        setting = Setting(place, line.dtype, line.layout, line.direction, batch)
        session = start_session(line.benchmark.op, setting, ["ours"], None, EFFORT, frozenset())
        if not rows:
            click.echo(f"{chip_words(session.common)}, batch {batch}: percent of a copy's speed (us) by resolution")
        found = _measured(line, session, sizes, begun + seconds)
        rows += found
        if not found:  # nothing of these sizes, or no time left
            continue
        ours = [row for row in found if row["provider"] == "ours"]
        cells = [f"{row['resolution']}²: {row['roofline']:.0%} ({row['ms'] * 1e3:.0f})" for row in ours]
        place_in_table = f"{line.benchmark.op:9} {line.case:9} {line.dtype} {line.layout:13} {line.direction}"
        click.echo(f"{place_in_table} | {'  '.join(cells)}")
        if json_file is not None:
            write_json(rows, json_file)


def _measured(line: Line, session: Session, sizes: set[int], until: float) -> list[Row]:
    case, found = line.benchmark.cases[line.case], []
    for resolution in line.resolutions:
        if resolution in sizes and resolution >= case.smallest and time.perf_counter() < until:
            found += measure_shape(session, line.case, case, resolution)
    return found


if __name__ == "__main__":
    run(main)
