"""``python benchmarks/plot_results.py RESULTS.json PICTURE.png``: draw the rows that a benchmark wrote with --json, for
instance on a machine without matplotlib."""

from __future__ import annotations

import json
from pathlib import Path

import click
from harness.command import picture_file
from harness.plot import draw

from stylegan_fast.command import run
from stylegan_fast.errors import UserError


@click.command()
@click.argument("results")
@click.argument("picture")
def main(results: str, picture: str) -> None:
    """Draw PICTURE (.png, .svg or .pdf) from the JSON file RESULTS of one run."""
    file = picture_file("PICTURE", picture)
    try:
        rows = json.loads(Path(results).read_text())
        draw(rows, file)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError) as failure:
        raise UserError(f"RESULTS {results!r} is not what a benchmark wrote with --json ({failure!r})") from None


if __name__ == "__main__":
    run(main)
