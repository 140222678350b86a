"""``python -m stylegan_fast.train``: train a StyleGAN on a folder of images, a ZIP, or the built-in faces."""

from __future__ import annotations

from typing import Any

import click

from stylegan_fast.command import run
from stylegan_fast.options import Number, outdir_option

# Spelled out here, so that --help and typing errors are answered without waiting for torch.
CONFIGS = ("a", "b", "c", "d", "e", "f")
OBJECTIVE_NAMES = ("nonsaturating", "saturating", "hinge", "least-squares", "wgan", "wgan-gp")
AUGPIPES = ("bgc", "bg", "blit", "geom", "color")
PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")


@click.command()
@click.option("--data", metavar="PATH", help="Folder or ZIP of images. Left out: the built-in cartoon faces.")
@outdir_option(default="runs", show_default=True, help="Where the run's folder is made.")
@click.option(
    "--resolution", metavar="R", type=int, help="Image size, a power of two from 8 to 1024. [default: the data's own]"
)
@click.option(
    "--kimg",
    type=Number(min=0, min_open=True),
    help="Thousands of images to train on; the whole schedule is scaled to it. [default: 25000]",
)
@click.option("--config", type=click.Choice(CONFIGS), help="Row of the paper's Table 1. [default: f, StyleGAN]")
@click.option(
    "--growth-kimg",
    type=Number(min=0, min_open=True),
    help="Grow as a run of this many kimg does. [default: --kimg]",
)
@click.option("--growing", type=click.Choice(["on", "off"]), help="Progressive growing. [default: on]")
@click.option("--batch", type=click.IntRange(min=1), help="Images per step. [default: the paper's, by resolution]")
@click.option(
    "--batch-gpu", type=click.IntRange(min=1), help="Images of one pass; more are added up. [default: all at once]"
)
@click.option("--channel-base", type=click.IntRange(8, 2**24), help="Network width: feature maps at r x r: 2*base/r...")
@click.option("--channel-max", type=click.IntRange(1, 65536), help="...but at most this many. [defaults: 8192, 512]")
@click.option("--z-dim", type=click.IntRange(1, 65536), help="Width of the latents z and w. [default: 512]")
@click.option(
    "--map-depth", type=click.IntRange(min=0, max=64), help="Layers of the mapping network; 0: none. [default: 8]"
)
@click.option("--mirror", is_flag=True, default=None, help="Flip half of the images left to right.")
@click.option("--cond", is_flag=True, default=None, help="Train on the data's labels as classes.")
@click.option("--lr", type=Number(0, min_open=True), help="Learning rate. [default: by resolution, 0.001 up]")
@click.option("--g-lr", type=Number(0, min_open=True), help="The generator's. [default: --lr]")
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVE_NAMES),
    help="The game's loss. [default: nonsaturating; config a: wgan-gp]",
)
@click.option("--gamma", type=Number(min=0), help="Weight of the R1 penalty. [default: 10; wgan-gp: 0]")
@click.option("--r2-gamma", type=Number(min=0), help="Weight of the R2 penalty, R1's on fakes. [default: 0]")
@click.option("--r1-every", type=click.IntRange(min=1), help="R1 and R2 on every so many steps only. [default: 1]")
@click.option("--gp", type=Number(min=0), help="Weight of the gradient penalty. [default: wgan-gp 10, else 0]")
@click.option(
    "--clip",
    type=Number(0, min_open=True),
    help="Limit of D's stored weights. [default: wgan 1, else none]",
)
@click.option("--n-critic", type=click.IntRange(min=1), help="Discriminator steps per generator step. [default: 1]")
@click.option(
    "--ema-kimg",
    type=Number(min=0),
    help="Half-life of the generator's average. [default: 10 or less]",
)
@click.option("--mixing-prob", type=Number(0, 1), help="Probability of style mixing. [default: 0.9]")
@click.option(
    "--aug",
    type=click.Choice(["noaug", "fixed", "ada"]),
    help="Augment what D sees, for small data sets: not, at --aug-p, or adaptively. [default: noaug]",
)
@click.option("--aug-p", type=Number(0, 1), help="Probability of each transform; of ada at its start: [0]")
@click.option("--aug-target", type=Number(-1, 1), help="ada: of the mean sign of D(real). [default: 0.6]")
@click.option(
    "--aug-kimg",
    type=Number(min=0, min_open=True),
    help="ada: thousands of images in which p can go from 0 to 1. [default: 500]",
)
@click.option("--augpipe", type=click.Choice(AUGPIPES), help="Pixel blits, geometry, colour. [default: bgc, all]")
@click.option(
    "--freeze-d", type=click.IntRange(min=0), help="With weights: the first N layers of D do not learn. [default: 0]"
)
@click.option("--freeze-mapping", is_flag=True, default=None, help="With weights: the mapping network does not learn.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of every random number in the run. [default: 0]")
@click.option("--precision", type=click.Choice(PRECISIONS), help="[default: auto, what the device does well]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="[default: auto, the fastest here]")
@click.option(
    "--cuda-graphs/--no-cuda-graphs",
    default=None,
    help="Launch a step's kernels as one captured graph, on CUDA. [default: --cuda-graphs]",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads of torch. [default: torch's choice]")
@click.option("--cache-dir", metavar="DIR", help="Where decoded images are kept. [default: your cache folder]")
@click.option(
    "--snap", type=click.IntRange(min=1), help="Ticks from one sheet, network and state to the next. [default: 10]"
)
@click.option(
    "--tick",
    type=Number(min=0, min_open=True),
    help="Thousands of images between progress lines. [default: by resolution]",
)
@click.option(
    "--keep", type=click.IntRange(min=1), help="Snapshots to keep, the best and last among them. [default: all]"
)
@click.option(
    "--max-skipped",
    type=click.IntRange(min=1),
    help="Stop after so many steps in a row without finite gradients. [100]",
)
@click.option("--metrics", metavar="LIST", help="Measure snapshots: swd,msssim,fid50k, ... as calc_metrics does.")
@click.option("--metrics-num", type=click.IntRange(min=1), help="Images for --metrics. [default: as published]")
@click.option("--detector", metavar="FILE", help="TorchScript feature detector of fid50k, kid50k, is50k and pr50k.")
@click.option("--trust-detector", is_flag=True, default=None, help="Run it though it is not known here: a program.")
@click.option("--tensorboard", is_flag=True, help="Write event files for TensorBoard into the run's folder.")
@click.option("--profile", is_flag=True, help="Write trace.json and profile.txt: where the time of a step goes.")
@click.option(
    "--resume",
    metavar="RUN|latest|NETWORK",
    help="Begin a new run with the weights of a network file, of any resolution, channels and classes. Or go on with a "
    "run: its folder, or the latest in --outdir; it keeps its own settings; "
    "--kimg, --snap, --tick, --keep, --device, --threads, --precision, --batch-gpu, --max-skipped, --cuda-graphs, "
    "--cache-dir, --metrics and its settings and a moved --data may be given anew.",
)
def main(outdir: str, resume: str | None, profile: bool, tensorboard: bool, growing: str | None, **options: Any) -> int:
    """Train a StyleGAN: progressive growing, non-saturating loss with R1, style mixing.

    Several GPUs: torchrun --nproc_per_node 8 -m stylegan_fast.train ...

    With no options at all it trains on built-in cartoon faces, sized for this machine. Ctrl-C saves and says how to go
    on. The folder of the run holds sample sheets (fakes*.png), networks, log.txt, stats.jsonl and the state.
    """
    from stylegan_fast.training.start import train  # here, so that --help and typing errors are answered at once

    options["growing"] = None if growing is None else growing == "on"
    return train(options, outdir, resume, profile, tensorboard)


if __name__ == "__main__":
    run(main)
