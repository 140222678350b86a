"""The picture of a run: bandwidth over the sizes of the network, and the speed-ups of ours. Needs matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report import RIVALS, chip_words, geometric_mean, provider_words, speedups
from stylegan_fast.atomic import replacing
from stylegan_fast.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]

# The palette of Okabe and Ito, told apart by all eyes; ours stands out by weight too.
COLOURS = {"ours": "#D55E00", "eager": "#7F7F7F", "compile": "#0072B2", "peer": "#009E73"}
COPY_COLOUR = "#222222"
WORDS = {"fwd": "forward", "bwd": "backward", "fwdbwd": "forward + backward"}


def require_matplotlib(option: str) -> None:
    """Raises UserError where it is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(f"{option} needs matplotlib, which is not installed; pip install matplotlib, or leave it out")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Writes the picture to `path`, in the format its ending names (png, svg, pdf).

    Every case is a column. Above: GB/s of each provider by the byte model, a copy's for comparison. Below: ours over
    the others.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = list(dict.fromkeys(row["case"] for row in rows))
    with pyplot.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = pyplot.subplots(
            2,
            len(cases),
            figsize=(7 if len(cases) == 1 else 4.6 * len(cases), 6.4),
            height_ratios=(3, 2),
            sharex="col",
            squeeze=False,
            layout="constrained",
        )
        for column, case in enumerate(cases):
            of_case = [row for row in rows if row["case"] == case]
            sizes = list(dict.fromkeys(row["resolution"] for row in of_case))
            _bandwidth(axes[0, column], of_case, sizes)
            _speedups(axes[1, column], of_case, sizes, numbered=len(cases) == 1)
            axes[0, column].set_title(f"{of_case[0]['op']}: {case}", loc="left", fontweight="bold")
        axes[0, 0].set_ylabel("GB/s (fewest bytes / time)")
        axes[1, 0].set_ylabel("times as fast")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        figure.suptitle(_title(rows[0]), fontsize=10, x=0.01, ha="left", color="#444444")
        with replacing(path) as file:
            pyplot.savefig(file, dpi=160, format=path.suffix[1:] or "png")
        pyplot.close(figure)


def draw_growth(rows: Sequence[Row], path: Path) -> None:
    """Writes the picture of `growth_bench.py`: time per picture over the sizes of a growing network, and memory over
    batch sizes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    times = [row for row in rows if row["part"] == "time"]
    memory = [row for row in rows if row["part"] == "memory" and row["peak_bytes"] is not None]
    with pyplot.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.2, 3.8), layout="constrained")
        full = max(row["resolution"] for row in times)
        looks = {
            "grown so far": (f"a network for {full}², grown so far", "o-", COLOURS["ours"]),
            "of this size": ("a network for no more than this size", "x--", COLOURS["eager"]),
        }
        for provider, (words, style, colour) in looks.items():
            found = [(row["resolution"], row["ms"]) for row in times if row["provider"] == provider]
            left.plot(*zip(*found, strict=True), style, color=colour, label=words)
        left.set_xscale("log", base=2)
        left.set_yscale("log")
        sizes = sorted({row["resolution"] for row in times})
        left.set_xticks(sizes, [f"{size}²" for size in sizes])
        left.set_title(f"ms a picture, batch {times[0]['batch']}", loc="left", fontweight="bold")
        left.legend(frameon=False)
        right.plot([row["batch"] for row in memory], [row["peak_bytes"] / 1e6 for row in memory], "o-", color="#0072B2")
        right.set_ylim(bottom=0)
        right.set_xlim(left=0)
        right.set_title(f"MB beyond the weights at {full}², by batch", loc="left", fontweight="bold")
        for axes in (left, right):
            axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
            axes.set_axisbelow(True)
        words = f"pictures in {rows[0]['dtype']}, {chip_words(rows[0])}, torch {rows[0]['torch']}"
        figure.suptitle(words, fontsize=10, x=0.01, ha="left", color="#444444")
        with replacing(path) as file:
            pyplot.savefig(file, dpi=160, format=path.suffix[1:] or "png")
        pyplot.close(figure)


def _title(row: Row) -> str:
    return (
        f"{WORDS[row['direction']]}, {row['dtype']}, {row['layout']}, batch {row['shape'][0]}, {chip_words(row)}, "
        f"torch {row['torch']}"
    )


def _bandwidth(axes: Axes, rows: Sequence[Row], sizes: list[int]) -> None:
    for kind, style in (("copy", "--"), ("fresh copy", ":")):
        positions, values = _series(rows, kind, "gbps", sizes)
        axes.plot(positions, values, style, color=COPY_COLOUR, linewidth=1.2, label=kind)
    for provider, colour in COLOURS.items():
        positions, values = _series(rows, provider, "gbps", sizes)
        if positions:
            ours = provider == "ours"
            axes.plot(
                positions,
                values,
                "o-",
                color=colour,
                linewidth=2.6 if ours else 1.6,
                markersize=6 if ours else 4,
                zorder=3 if ours else 2,
                label=provider_words(provider),
            )
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)


def _speedups(axes: Axes, rows: Sequence[Row], sizes: list[int], numbered: bool) -> None:
    """Bars up from 1 where ours is faster, down where it is slower; logarithmic, so that half and double look alike."""
    rivals = [rival for rival in RIVALS if speedups(rows, rival)]
    width = 0.8 / max(len(rivals), 1)
    means, ratios = [], [1.0]
    for place, rival in enumerate(rivals):
        found = {row["resolution"]: ratio for ratio, row in speedups(rows, rival)}
        positions = [sizes.index(size) + (place - (len(rivals) - 1) / 2) * width for size in found]
        for position, ratio in zip(positions, found.values(), strict=True):
            axes.bar(position, ratio - 1, width * 0.92, bottom=1, color=COLOURS[rival])
            if numbered:
                above = ratio >= 1
                axes.annotate(
                    _two_digits(ratio),
                    (position, ratio),
                    (0, 2 if above else -2),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if above else "top",
                    fontsize=7,
                    color="#444444",
                )
        means.append(f"{_two_digits(geometric_mean(list(found.values())))}x {provider_words(rival)}")
        ratios += found.values()
    axes.set_title("geometric mean: " + ", ".join(means) if means else "", loc="left", fontsize=9, color="#444444")
    axes.set_yscale("log", base=2)
    axes.set_ylim(min(ratios) / 1.35, max(ratios) * 1.35)
    axes.axhline(1, color=COPY_COLOUR, linewidth=0.8)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter("{x:g}x")
    axes.set_xticks(range(len(sizes)), [f"{size}²" for size in sizes])


def _two_digits(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def _series(rows: Sequence[Row], provider: str, key: str, sizes: list[int]) -> tuple[list[int], list[float]]:
    found = [(sizes.index(row["resolution"]), row[key]) for row in rows if row["provider"] == provider]
    return [position for position, _ in found], [value for _, value in found]
