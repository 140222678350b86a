"""``report.html``: everything about a run on one page that needs nothing but itself.

The page fetches nothing: pictures, style and script are inside, and its content security policy lets the browser fetch
nothing either. Text from the run's files is escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from stylegan_fast.atomic import replacing
from stylegan_fast.durations import duration
from stylegan_fast.figures.sheet import save_png
from stylegan_fast.reporting.charts import Chart, axis_label, charts_of, metric_values
from stylegan_fast.reporting.plot import curves_picture
from stylegan_fast.reporting.record import Row, RunRecord, number, read_run
from stylegan_fast.reporting.sheets import MOST_SHEETS, SheetPictures
from stylegan_fast.reporting.strip import evenly, progress_strip
from stylegan_fast.reporting.svg import legend, svg

MOST_EVENTS = 200

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_report(path: str | Path) -> Path:
    """Write ``report.html``, ``curves.png`` and ``progress.png`` into a run's folder, each whole or not at all.

    Returns the page's path. Raises ``UserError`` where the folder is not that of a run, and ``OSError``.
    """
    record = read_run(path)
    charts = charts_of(record)
    page = record.path / "report.html"
    with replacing(page) as file:
        file.write(report_html(record, charts).encode())
    if charts:
        save_png(curves_picture(charts), record.path / "curves.png")
    resolution = number(record.config, "resolution")
    strip = progress_strip(record.snapshots, int(resolution)) if resolution else None
    if strip is not None:
        save_png(strip, record.path / "progress.png")
    return page


def report_html(record: RunRecord, charts: Sequence[Chart]) -> str:
    """The page's text."""
    files = resources.files("stylegan_fast.reporting")
    style, script = (files.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    sections = [
        _headline(record),
        _samples(record),
        _section("Curves", '<p class="hint">Over thousands of images (kimg).</p>' + _curves(charts)) if charts else "",
        _metrics(record.metrics),
        _speed(record),
        _events(record.events()),
        _settings(record.config),
    ]
    name = html.escape(record.name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + f"\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _headline(record: RunRecord) -> str:
    last = record.ticks[-1] if record.ticks else {}
    kimg, total = number(last, "kimg") or 0.0, number(record.config, "kimg")
    facts = [("kimg", f"{kimg:.1f}" + (f" of {total:g}" if total else ""))]

    def fact(label: str, column: str, text: str = "{:.3g}") -> None:
        value = number(last, column)
        if value is not None:
            facts.append((label, text.format(value)))

    seconds = number(last, "seconds")
    if seconds is not None:
        facts.append(("time", duration(seconds)))
    fact("resolution now", "resolution", "{0:.0f}×{0:.0f}")
    fact("lod", "lod", "{:.2f}")
    fact("images/s", "images_per_second")
    fact("D loss", "D_loss")
    fact("G loss", "G_loss")
    fact("augmentation p", "augment_p")
    fact("skipped steps", "skipped_steps", "{:.0f}")
    cards = "".join(f"<div><b>{html.escape(value)}</b><span>{label}</span></div>" for label, value in facts)
    share = min(kimg / total, 1.0) if total else 0.0
    return (
        f'<header><h1>{html.escape(record.name)}</h1><progress value="{share:.4f}"></progress>'
        f'<div class="facts">{cards}</div></header>'
    )


def _samples(record: RunRecord) -> str:
    shown = evenly(record.snapshots, MOST_SHEETS)
    if not shown:
        return ""
    paths = [snapshot.path for snapshot in shown] + ([record.reals] if record.reals else [])
    addresses = SheetPictures(paths).addresses
    reals = addresses.pop() if record.reals else None
    slides = [[snapshot.label, address] for snapshot, address in zip(shown, addresses, strict=True) if address]
    damaged = [snapshot.path.name for snapshot, address in zip(shown, addresses, strict=True) if not address]
    if record.reals and reals is None:
        damaged.append(record.reals.name)
    notes = [f"Not a whole picture, left out: {name}." for name in damaged]
    if len(shown) < len(record.snapshots):
        notes.append(f"{len(shown)} of {len(record.snapshots)} snapshots, evenly chosen; all are in the run's folder.")
    if not slides:
        return _section("Samples over time", _hints(notes))
    label, address = slides[-1]
    compare = f'<figure><img alt="real images" src="{reals}"><figcaption>real images</figcaption></figure>'
    return _section(
        "Samples over time",
        '<p class="hint">The same latents at every snapshot, without truncation.</p>'
        '<div class="slider"><button id="play" type="button" aria-label="play">▶</button>'
        f'<input id="when" type="range" min="0" max="{len(slides) - 1}" value="{len(slides) - 1}" '
        f'aria-label="snapshot"><output id="label">{html.escape(label)}</output></div>'
        f'<div class="pictures"><figure><img id="sheet" alt="samples" src="{address}">'
        f"<figcaption>generated</figcaption></figure>{compare if reals else ''}</div>"
        f"{_hints(notes)}{_data('slides', slides)}",
    )


def _curves(charts: Sequence[Chart]) -> str:
    figures = (
        f'<figure class="chart"><figcaption><b>{html.escape(chart.title)}</b>'
        f"{' <small>' + html.escape(chart.unit) + '</small>' if chart.unit else ''}"
        f'<span class="legend">{legend(chart) if len(chart.series) > 1 else ""}</span></figcaption>{svg(chart)}'
        '<output class="readout">&nbsp;</output></figure>'
        for chart in charts
    )
    return f'<div class="charts">{"".join(figures)}</div>'


def _metrics(rows: Sequence[Row]) -> str:
    values = metric_values(rows)
    if not values:
        return ""
    table = [
        (name, f"{points[-1][1]:.5g}", f"{min(y for _, y in points):.5g}", axis_label(points[-1][0]))
        for name, points in values.items()
    ]
    return _section("Metrics", _table(("metric", "last", "lowest", "last at kimg"), table))


def _speed(record: RunRecord) -> str:
    phases = record.phases()
    if not phases:
        return ""
    rows = [
        (
            phase.label,
            f"{phase.kimg:.1f}",
            duration(phase.seconds),
            f"{phase.images_per_second:.1f}",
            f"{100 * phase.data_wait:.1f} %",
            "" if phase.memory_gb is None else f"{phase.memory_gb:.1f}",
        )
        for phase in phases
    ]
    return _section("Speed by phase", _table(("phase", "kimg", "time", "images/s", "data wait", "memory, GB"), rows))


def _events(events: Sequence[str]) -> str:
    if not events:
        return ""
    left_out = len(events) - MOST_EVENTS
    notes = [f"The last {MOST_EVENTS}; {left_out} before them are in log.txt."] if left_out > 0 else []
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in events[-MOST_EVENTS:])
    return _section("Events", f'{_hints(notes)}<ul class="events">{lines}</ul>')


def _settings(config: Row) -> str:
    flat: list[tuple[str, str]] = []
    for name, value in config.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flat += [(f"{name} {key}".strip(), str(entry)) for key, entry in inner if entry is not None]
    return _section("Settings", _table(("setting", "value"), flat)) if flat else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def _hints(notes: Iterable[str]) -> str:
    return "".join(f'<p class="hint">{html.escape(note)}</p>' for note in notes)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _data(name: str, value: object) -> str:
    # "</script>" inside a string would end the element.
    text = json.dumps(value).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
