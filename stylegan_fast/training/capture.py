"""Steps as captured CUDA graphs: the thousands of kernels of a step are launched by one call.

At 8x8 a step is nothing but launches: the kernels are done long before Python asks for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stylegan_fast.cuda_graph import CapturedFunction, CaptureError, Given, Tensors
from stylegan_fast.models.growth import Lod, StaticLod, split_lod
from stylegan_fast.training.draws import GeneratorInputs, StyleMixing
from stylegan_fast.training.trainer import Trainer, Values


class CapturedSteps:
    """The steps of a trainer, `d_step`, `update_average` and `g_step` with the same arguments and results, captured.

    What changes from step to step (images, latents, labels, seeds, learning rate, progress of a fade, where styles are
    mixed) is copied to inputs that stay where they are in memory. Every other difference (resolution, batch, with a
    fade or without, with penalties or without) is a graph of its own, captured at the third call of its kind (the two
    before are steps like any other) and dropped when the resolution changes. Where a capture fails, `report` gets one
    line, and kernels are launched one by one from then on; under autocast they always are.

    Args:
        trainer: one without `augment` and alone (`obstacle` is empty). On other devices than CUDA the inputs stay in
            place likewise, and nothing is captured.
        report: is told why there is no capture.
    """

    def __init__(self, trainer: Trainer, report: Callable[[str], None] = lambda line: None) -> None:
        self.trainer = trainer
        self.failed = False
        self._report = report
        parameter = next(trainer.G.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self._pool: Any = None
        self._phase: tuple[int, bool] | None = None
        self._steps: dict[tuple[Any, ...], CapturedFunction] = {}

    @staticmethod
    def obstacle(trainer: Trainer) -> str:
        """Why the steps of this trainer cannot be captured; empty if they can."""
        if next(trainer.G.parameters()).device.type != "cuda":
            return "only CUDA has graphs"
        if trainer.augment is not None:
            return "augmentation draws its own random numbers"
        return "several processes average their gradients" if trainer.ranks.count > 1 else ""

    def d_step(
        self,
        reals: Tensor,
        c: Tensor | None,
        inputs: GeneratorInputs,
        lod: float | Tensor,
        lr: float,
        *,
        gp_mixing: Tensor | None = None,
        penalise: bool = True,
    ) -> Values:
        """`Trainer.d_step`."""
        if self._is_off():
            return self.trainer.d_step(reals, c, inputs, lod, lr, gp_mixing=gp_mixing, penalise=penalise)

        def step(static: Tensors, lod: Lod) -> Values:
            return self.trainer.d_step(
                static["reals"],
                static.get("labels"),
                _inputs_from(static),
                lod,
                static["lr"],
                gp_mixing=static.get("gp_mixing"),
                penalise=penalise,
            )

        images = {"reals": reals, "labels": c, "gp_mixing": gp_mixing}
        given = {name: tensor for name, tensor in images.items() if tensor is not None}
        return self._step(("D", penalise), self._given(inputs, lod) | given | {"lr": lr}, lod, step)

    def g_step(self, inputs: GeneratorInputs, lod: float | Tensor, lr: float) -> Values:
        """`Trainer.g_step`."""
        if self._is_off():
            return self.trainer.g_step(inputs, lod, lr)

        def step(static: Tensors, lod: Lod) -> Values:
            return self.trainer.g_step(_inputs_from(static), lod, static["lr"])

        return self._step(("G",), self._given(inputs, lod) | {"lr": lr}, lod, step)

    def update_average(self, batch: int) -> None:
        """`Trainer.update_average`."""
        if self._is_off():
            self.trainer.update_average(batch)
            return

        def step(static: Tensors) -> Values:
            self.trainer.update_average(batch)
            return {}

        self._run(("average", batch), {}, step)

    def _is_off(self) -> bool:
        return self.failed or torch.is_autocast_enabled(self._device.type)

    def _given(self, inputs: GeneratorInputs, lod: float | Tensor) -> Given:
        given: Given = {"z": inputs.z}
        if inputs.c is not None:
            given["c"] = inputs.c
        # Without mixing all layers are those before the cutoff: the same pictures from the same graph.
        given["z2"] = inputs.z if inputs.mixing is None else inputs.mixing.z2
        given["cutoff"] = self.trainer.G.num_ws if inputs.mixing is None else inputs.mixing.cutoff
        if inputs.noise_seeds is not None:
            given["noise_seeds"] = inputs.noise_seeds
        elif inputs.noise_generator is not None:
            given["noise_seeds"] = self.trainer.G.synthesis.noise_seeds(inputs.z, lod, inputs.noise_generator)
        return given

    def _step(
        self, kind: tuple[Any, ...], given: Given, lod: float | Tensor, step: Callable[[Tensors, Lod], Values]
    ) -> Values:
        level, amount = split_lod(lod, self.trainer.G.img_resolution)
        if amount is not None:
            given["amount"] = float(amount)
        if self._phase != (level, amount is None):
            self._steps.clear()  # growth does not come back
            self._phase = (level, amount is None)
            self._pool = torch.cuda.graph_pool_handle() if self._stream is not None else None
        return self._run(kind, given, lambda static: step(static, StaticLod(level, static.get("amount"))))

    def _run(self, kind: tuple[Any, ...], given: Given, step: Callable[[Tensors], Values]) -> Values:
        shapes = ((name, value.shape if isinstance(value, Tensor) else ()) for name, value in given.items())
        key = (*kind, *shapes)
        if key not in self._steps:
            self._steps[key] = CapturedFunction(step, given, self._device, self._dtype, self._stream, self._pool)
        found = self._steps[key]
        try:
            return found(given)
        except CaptureError as failure:
            self.failed = True
            self._steps.clear()
            self._report(f"steps run without CUDA graphs, more slowly: a capture failed ({failure})")
            return found.run()


def _inputs_from(static: Tensors) -> GeneratorInputs:
    mixing = StyleMixing(static["z2"], static["cutoff"])
    return GeneratorInputs(static["z"], static.get("c"), mixing, noise_seeds=static.get("noise_seeds"))
