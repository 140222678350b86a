"""``python -m stylegan_fast.report``: make the page about a run anew."""

from __future__ import annotations

import click

from stylegan_fast.command import run


@click.command()
@click.argument("folder", metavar="RUN")
def main(folder: str) -> None:
    """Write report.html, curves.png and progress.png into a run's folder, as training does at each snapshot."""
    from stylegan_fast.reporting import write_report  # here, so that --help and typing errors are answered at once

    click.echo(write_report(folder))


if __name__ == "__main__":
    run(main)
