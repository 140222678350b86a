"""The command line every benchmark has."""

from __future__ import annotations

import os
from pathlib import Path

import click
import torch

from harness import report
from harness.benchmark import DIRECTIONS, DTYPES, LAYOUTS, Benchmark, Setting
from harness.plot import draw, require_matplotlib
from harness.providers import PROVIDERS, chosen_providers, peer_ops
from harness.session import Row, measure_shape, note, start_session
from harness.shapes import QUICK_RESOLUTIONS, RESOLUTIONS
from harness.timing import Effort
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError
from stylegan_fast.memory import keep_freed_memory

# The profiler that counts the CPU allocator's bytes would log into the table; it reads this when it first starts.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

PLOT_FORMATS = (".png", ".svg", ".pdf")
FULL, QUICK = Effort(rounds=25, seconds=20.0), Effort(rounds=7, seconds=2.0)


def command(benchmark: Benchmark) -> click.Command:
    """A click command that measures `benchmark`."""
    cases = "; ".join(f"{name}: {case.title}" for name, case in benchmark.cases.items())

    @click.command(
        help=f"Measure {benchmark.op} at the shapes of StyleGAN's layers against eager PyTorch, torch.compile and a "
        f"copy of the same bytes.\n\nCases. {cases}."
    )
    @click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
    @click.option("--dtype", type=click.Choice(list(DTYPES)), default="fp32", show_default=True)
    @click.option("--layout", type=click.Choice(list(LAYOUTS)), default="contiguous", show_default=True)
    @click.option("--direction", type=click.Choice(DIRECTIONS), default="fwd", show_default=True)
    @click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Images.")
    @click.option("--resolutions", metavar="LIST", help="Which of 4,8,...,1024. [default: all]")
    @click.option("--cases", metavar="LIST", help=f"Or all. [default: {','.join(benchmark.default_cases)}]")
    @click.option("--providers", metavar="LIST", help=f"Of {','.join(PROVIDERS)}. [default: all that can run]")
    @click.option("--peer", metavar="PATH", help="A checkout of the StyleGAN3 project whose ops are measured too.")
    @click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: torch's]")
    @click.option(
        "--memory",
        type=click.Choice(["default", "kept"]),
        default="default",
        show_default=True,
        help="Of the CPU: as the C library has it, or freed memory kept for all providers, as the package's command "
        "lines do.",
    )
    @click.option("--quick", is_flag=True, help="Fewer shapes and repetitions: a look, not a result.")
    @click.option("--json", "json_path", metavar="PATH", help="Write the rows here.")
    @click.option("--plot", "plot_path", metavar="PATH", help="Draw them here, .png, .svg or .pdf (needs matplotlib).")
    def main(
        device: str,
        dtype: str,
        layout: str,
        direction: str,
        batch: int,
        resolutions: str | None,
        cases: str | None,
        providers: str | None,
        peer: str | None,
        threads: int | None,
        memory: str,
        quick: bool,
        json_path: str | None,
        plot_path: str | None,
    ) -> None:
        json_file = None if json_path is None else output_file("--json", json_path)
        plot_file = None if plot_path is None else picture_file("--plot", plot_path)
        wanted_cases = _chosen_cases(cases, benchmark)
        wanted_resolutions = _chosen_resolutions(resolutions, quick)
        if threads is not None:
            torch.set_num_threads(threads)
        if memory == "kept" and not keep_freed_memory():
            raise UserError("--memory kept: only the C library of GNU/Linux can be told to")
        wanted_device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        setting = Setting(choose_device(wanted_device), dtype, layout, direction, batch)
        names = chosen_providers(providers, peer, benchmark, setting.device)
        module = peer_ops(peer, benchmark.op) if peer is not None and "peer" in names else None
        optional = frozenset() if providers is not None else frozenset({"compile"})
        session = start_session(benchmark.op, setting, names, module, QUICK if quick else FULL, optional, memory)

        click.echo(report.heading(session.common, batch))
        rows: list[Row] = []
        for name in wanted_cases:
            click.echo(f"\n{name}: {benchmark.cases[name].title}\n{report.table_head()}")
            for resolution in wanted_resolutions:
                if resolution < benchmark.cases[name].smallest:
                    continue
                found = measure_shape(session, name, benchmark.cases[name], resolution)
                for line in report.table_lines(found):
                    click.echo(line)
                rows += found
                if json_file is not None:  # after every shape, so that an interrupted run has left something
                    report.write_json(rows, json_file)
        if not rows:
            raise UserError("nothing was measured: no shape asked for exists in these cases and fits in memory")
        click.echo()
        for line in report.summary_lines(rows):
            click.echo(line)
        if plot_file is not None:
            draw(rows, plot_file)
        if quick:
            note("a quick run: numbers to quote need one without --quick on an idle machine")

    return main


def output_file(option: str, path: str) -> Path:
    """Raises UserError where no file can be written to, before time is spent on measuring."""
    file = Path(path)
    if file.is_dir() or not file.parent.is_dir():
        raise UserError(f"{option} {path!r} must be a file in a folder that exists")
    if not os.access(file.parent, os.W_OK):
        raise UserError(f"{option} {path!r}: the folder cannot be written to")
    return file


def picture_file(option: str, path: str) -> Path:
    """`output_file` for a picture. Raises UserError also for unknown formats and where matplotlib is missing."""
    require_matplotlib(option)
    if Path(path).suffix not in PLOT_FORMATS:
        raise UserError(f"{option} {path!r} must end with one of {', '.join(PLOT_FORMATS)}")
    return output_file(option, path)


def _chosen_cases(listed: str | None, benchmark: Benchmark) -> list[str]:
    if listed is None:
        return list(benchmark.default_cases)
    names = list(benchmark.cases) if listed == "all" else listed.split(",")
    for name in names:
        if name not in benchmark.cases:
            raise UserError(f"--cases: {name!r} is unknown; choose from {','.join(benchmark.cases)} or all")
    return list(dict.fromkeys(names))


def _chosen_resolutions(listed: str | None, quick: bool) -> list[int]:
    if listed is None:
        return list(QUICK_RESOLUTIONS if quick else RESOLUTIONS)
    words = listed.split(",")
    for word in words:
        if word not in map(str, RESOLUTIONS):
            raise UserError(f"--resolutions: {word!r} is none of {','.join(map(str, RESOLUTIONS))}")
    return sorted({int(word) for word in words})
