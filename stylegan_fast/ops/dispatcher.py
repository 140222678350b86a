"""The ops as torch's dispatcher knows them: ``torch.ops.stylegan_fast``, their schemas and the shapes of their results.

torch.compile, torch.export, fake and meta tensors, tensor subclasses and dispatch modes meet these; `library.choose`
sends calls here. Every order of derivative is an op of its own: a compiled graph sees all of them. Tensors have the
form in which the public functions hand them on: parameters of the accumulation dtype, scale and shift ``[N, C]``, noise
``[N, 1, H, W]``, f ``[fh, fw]``. ``backend`` is one of `library.BACKENDS` and looked at when a kernel is needed, so
that a graph runs on another machine too.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import torch
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.adain import AdaIN, AdaINBackward, empty_results
from stylegan_fast.ops.adain_reference import Formula, results_reference, wanted_gradients_reference
from stylegan_fast.ops.adain_reference import check_arguments as check_adain
from stylegan_fast.ops.arguments import acc_dtype, check_image, memory_format, wrong_type, wrong_value
from stylegan_fast.ops.bias_act import BiasAct, BiasActBackward, BiasActSecond
from stylegan_fast.ops.bias_act_reference import check_arguments as check_bias_act
from stylegan_fast.ops.bias_act_reference import gradient_reference, second_reference, value_reference
from stylegan_fast.ops.philox import SEED_DTYPES, PhiloxNormal, philox_normal_reference
from stylegan_fast.ops.philox import check_arguments as check_philox
from stylegan_fast.ops.philox import empty_result as empty_philox
from stylegan_fast.ops.resampling import Resampling, UpFirDn2d, empty_result, resample_reference
from stylegan_fast.ops.subpixel import plane_shape

Inputs = tuple[Any, ...]

_library = torch.library.Library("stylegan_fast", "DEF")
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order)


def _register(
    schema: str,
    function: Any,
    prepare: Callable[..., Inputs],
    empty: Callable[..., Any],
    reference: Callable[..., Any],
    first_output_alone_has_gradient: bool = False,
    differentiable: bool = True,
    dtypes: Container[torch.dtype] = library.DTYPE_CODES,
) -> None:
    """Makes an op.

    Args:
        schema: its name, arguments and results; the last argument is the backend.
        function: the autograd function it shares launch, keep and backward with; launch alone if not `differentiable`.
        prepare: raises on arguments that no kernel could take; returns them dense.
        empty: the results without values, from prepared arguments.
        reference: the results in plain PyTorch, from prepared arguments; no autograd in there.
        first_output_alone_has_gradient: the others are there for the backward.
        differentiable: there are gradients at all.
        dtypes: those of the first argument that its kernels take.
    """
    name = schema[: schema.index("(")]

    def run(*inputs: Any) -> Any:
        *tensors_and_numbers, wanted = prepare(*inputs)
        backend = library.backend_for(name, tensors_and_numbers[0], wanted, dtypes)
        if backend == "reference":
            return reference(*tensors_and_numbers)
        return function.launch(*tensors_and_numbers, backend)

    def fake(*inputs: Any) -> Any:
        return empty(*prepare(*inputs)[:-1])

    def keep(ctx: Any, inputs: Inputs, output: Any) -> None:
        function.keep(ctx, inputs, output, torch.ops.stylegan_fast)
        if first_output_alone_has_gradient:
            ctx.mark_non_differentiable(*output[1:])

    def backward(ctx: Any, *gradients: Any) -> Inputs:
        listed = len(gradients) == 1 and isinstance(gradients[0], list)
        return function.backward(ctx, *(gradients[0] if listed else gradients))

    _library.define(schema, tags=_TAGS)
    for key in ("CPU", "CUDA"):
        _library.impl(name, run, key)
    torch.library.register_fake(f"stylegan_fast::{name}", fake, lib=_library)
    if differentiable:
        torch.library.register_autograd(f"stylegan_fast::{name}", backward, setup_context=keep, lib=_library)


def _expect(op: str, like: Tensor, dtype: torch.dtype, **tensors: tuple[Tensor | None, Sequence[int]]) -> None:
    """Raises unless each tensor, where there is one, has this shape and dtype and lives where `like` lives."""
    for argument, (tensor, shape) in tensors.items():
        if tensor is None:
            continue
        if tensor.device != like.device:
            raise wrong_value(op, argument, tensor.device, f"on {like.device}")
        if tensor.dtype != dtype:
            raise wrong_type(op, argument, tensor, f"a {dtype} tensor")
        if tuple(tensor.shape) != tuple(shape):
            raise wrong_value(op, argument, tensor, str(list(shape)))


def _dense(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=memory_format(x))


def _contiguous(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.contiguous()


# ------------------------------------------------------------------------------------------------------------- adain
def _adain_tensors(x: Tensor, parameters: Sequence[Tensor | None], formula: Formula) -> Inputs:
    scale, shift, noise, noise_strength, bias, noise_seed = parameters
    check_adain(x, scale, shift, noise, noise_strength, bias, noise_seed, formula)
    n, c, h, w = plane_shape(x, formula.phases)
    expected = {"scale": (scale, (n, c)), "shift": (shift, (n, c)), "noise": (noise, (n, 1, h, w))}
    expected |= {"noise_strength": (noise_strength, (c,)), "bias": (bias, (c,))}
    _expect("adain", x, acc_dtype(x.dtype), **expected)
    if noise is not None and (noise.stride()[2:] != (w, 1) or noise.stride(0) not in (0, h * w)):
        noise = noise.contiguous()  # kernels know a map for each sample and one for all
    strength, bias, seed = map(_contiguous, (noise_strength, bias, noise_seed))
    return _dense(x), scale, shift, noise, strength, bias, seed


def _adain_inputs(x: Tensor, *others: Any) -> Inputs:
    return *_adain_tensors(x, others[:6], Formula(*others[6:11])), *others[6:]


def _adain_reference(x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return results_reference(x, others[:6], Formula(*others[6:11]))


def _adain_backward_inputs(dy: Tensor, x: Tensor, *others: Any) -> Inputs:
    statistics, formula, wanted = others[6], Formula(*others[7:12]), others[12]
    x, *parameters = _adain_tensors(x, others[:6], formula)
    shape = plane_shape(x, formula.phases)
    _expect("adain_backward", x, x.dtype, dy=(dy, shape))
    _expect("adain_backward", x, acc_dtype(x.dtype), statistics=(statistics, (2, *shape[:2])))
    there = [True, *(parameter is not None for parameter in parameters[:5])]  # a seed has no gradient
    if len(wanted) != 6 or any(want and not given for want, given in zip(wanted, there, strict=True)):
        raise wrong_value("adain_backward", "wanted", list(wanted), "six bools, False for what is None")
    dy = dy.contiguous(memory_format=memory_format(x))
    return dy, x, *parameters, statistics.contiguous(), *others[7:]


def _adain_backward_empty(dy: Tensor, x: Tensor, *others: Any) -> list[Tensor]:
    statistics, wanted = others[6], others[12]
    n, c, h, w = dy.shape
    shapes = [(n, c), (n, c), (n, 1, h, w), (c,), (c,)]
    dx = [torch.empty_like(x)] if wanted[0] else []
    return dx + [statistics.new_empty(shape) for shape, want in zip(shapes, wanted[1:], strict=True) if want]


def _adain_backward_reference(dy: Tensor, x: Tensor, *others: Any) -> list[Tensor]:
    return wanted_gradients_reference(dy, x, others[:6], Formula(*others[7:12]), others[12])


_PARAMETERS = "Tensor? scale, Tensor? shift, Tensor? noise, Tensor? noise_strength, Tensor? bias, Tensor? noise_seed"
_FORMULA = "float negative_slope, float eps, float output_negative_slope, bool phases, bool blur"
_register(
    f"adain(Tensor x, {_PARAMETERS}, {_FORMULA}, str backend) -> (Tensor y, Tensor statistics)",
    AdaIN,
    _adain_inputs,
    lambda x, *others: empty_results(x, others[9]),
    _adain_reference,
    first_output_alone_has_gradient=True,
)
_register(
    f"adain_backward(Tensor dy, Tensor x, {_PARAMETERS}, Tensor statistics, {_FORMULA}, bool[] wanted, str backend) "
    "-> Tensor[]",
    AdaINBackward,
    _adain_backward_inputs,
    _adain_backward_empty,
    _adain_backward_reference,
)


# ----------------------------------------------------------------------------------------------------- philox_normal
def _philox_inputs(seed: Tensor, *others: Any) -> Inputs:
    check_philox(seed, *others[:2])
    return seed.contiguous(), *others


_register(
    "philox_normal(Tensor seed, SymInt height, SymInt width, str backend) -> Tensor",
    PhiloxNormal,
    _philox_inputs,
    empty_philox,
    philox_normal_reference,
    differentiable=False,
    dtypes=SEED_DTYPES,
)


# ---------------------------------------------------------------------------------------------------------- bias_act
def _bias_act_numbers(x: Tensor, b: Tensor | None, numbers: Sequence[Any]) -> Inputs:
    """dim counted from the front, act, alpha, gain, clamp, backend."""
    dim, act, alpha, gain, clamp, backend = numbers
    checked = check_bias_act(x, b, dim, act, alpha, gain, None if clamp < 0 else clamp)
    _expect("bias_act", x, acc_dtype(x.dtype), b=(b, () if b is None else b.shape))
    if act == "lrelu" and alpha <= 0:  # the compiled gradient takes the sign of x from y
        raise wrong_value("bias_act", "alpha", alpha, "above 0")
    return *checked, backend


def _bias_act_inputs(x: Tensor, b: Tensor | None, *numbers: Any) -> Inputs:
    return _dense(x), _contiguous(b), *_bias_act_numbers(x, b, numbers)


def _bias_act_reference(x: Tensor, b: Tensor | None, *call: Any) -> Tensor:
    y = value_reference(x, b, *call)
    return y.clone() if y is x else y  # an op's result is never its argument


def _bias_act_backward_inputs(
    dy: Tensor, x: Tensor | None, b: Tensor | None, y: Tensor | None, *numbers: Any
) -> Inputs:
    checked = _bias_act_numbers(dy, b, numbers)
    _expect("bias_act_backward", dy, dy.dtype, x=(x, dy.shape), y=(y, dy.shape))
    layout = memory_format(dy)
    dense = [None if t is None else t.contiguous(memory_format=layout) for t in (dy, x, y)]
    return dense[0], dense[1], _contiguous(b), dense[2], *checked


def _bias_act_second_inputs(ddx: Tensor, *others: Any) -> Inputs:
    dy, x, b, y, *checked = _bias_act_backward_inputs(*others)
    _expect("bias_act_second", dy, dy.dtype, ddx=(ddx, dy.shape))
    return ddx.contiguous(memory_format=memory_format(dy)), dy, x, b, y, *checked


_BIAS_ACT_NUMBERS = "int dim, str act, float alpha, float gain, float clamp, str backend"
_register(
    f"bias_act(Tensor x, Tensor? b, {_BIAS_ACT_NUMBERS}) -> Tensor",
    BiasAct,
    _bias_act_inputs,
    lambda x, *_: torch.empty_like(x),
    _bias_act_reference,
)
_register(
    f"bias_act_backward(Tensor dy, Tensor? x, Tensor? b, Tensor? y, {_BIAS_ACT_NUMBERS}) -> Tensor",
    BiasActBackward,
    _bias_act_backward_inputs,
    lambda dy, *_: torch.empty_like(dy),
    gradient_reference,
)
_register(
    f"bias_act_second(Tensor ddx, Tensor dy, Tensor x, Tensor? b, Tensor? y, {_BIAS_ACT_NUMBERS}) -> Tensor",
    BiasActSecond,
    _bias_act_second_inputs,
    lambda ddx, *_: torch.empty_like(ddx),
    second_reference,
)


# --------------------------------------------------------------------------------------------------------- upfirdn2d
def _upfirdn2d_inputs(x: Tensor, f: Tensor, *numbers: Any) -> Inputs:
    check_image("upfirdn2d", x)
    if f.ndim != 2 or f.numel() == 0:
        raise wrong_value("upfirdn2d", "f", f, "[fh, fw]")
    _expect("upfirdn2d", x, acc_dtype(x.dtype), f=(f, f.shape))
    if min(numbers[:4]) < 1:
        raise wrong_value("upfirdn2d", "up and down", list(numbers[:4]), "at least 1")
    return _dense(x), f.contiguous(), *numbers


def _upfirdn2d_reference(x: Tensor, f: Tensor, *call: Any) -> Tensor:
    y = resample_reference(x.to(f.dtype), f, Resampling(*call))
    return y.to(x.dtype).contiguous(memory_format=memory_format(x))


_register(
    "upfirdn2d(Tensor x, Tensor f, int up_x, int up_y, int down_x, int down_y, SymInt pad_x0, SymInt pad_x1, "
    "SymInt pad_y0, SymInt pad_y1, bool flip_filter, float gain, str backend) -> Tensor",
    UpFirDn2d,
    _upfirdn2d_inputs,
    lambda x, f, *call: empty_result(x, f, Resampling(*call)),
    _upfirdn2d_reference,
)
