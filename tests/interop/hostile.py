"""Pickles and checkpoints strangers made, each from the folder in which it would leave a trace."""

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from stylegan_fast.interop.pickled import MOST_INSTRUCTIONS

from .snapshots import OFFICIAL, Calls, Raw, generator, official_class

EXECUTED = "executed"


def system_call(folder: Path) -> bytes:
    return pickle.dumps(Calls(os.system, f"touch {folder / EXECUTED}"))


def source_in_a_global(folder: Path) -> bytes:
    return Raw().named("builtins", "exec").text(f"open({str(folder / EXECUTED)!r}, 'w')").add(b"\x85R").end()


def function_of_a_function(folder: Path) -> bytes:
    raw = Raw().named("builtins", "getattr").named("builtins", "__import__").text("os").add(b"\x85R")
    return raw.text("system").add(b"\x86R").text(f"touch {folder / EXECUTED}").add(b"\x85R").end()


def dotted_name(folder: Path) -> bytes:
    return Raw().named("dnnlib.tflib.network", "os.system").text(f"touch {folder / EXECUTED}").add(b"\x85R").end()


def call_inside_a_snapshot(folder: Path) -> bytes:
    with official_class():
        network = generator("generator_cond_r32")
        network.static_kwargs["resolution"] = Calls(os.system, f"touch {folder / EXECUTED}")
        return pickle.dumps(network)


def the_network_class_called(folder: Path) -> bytes:
    return Raw().named("dnnlib.tflib.network", "Network").text("raise").add(b"\x85R").end()


def old_style_instance(folder: Path) -> bytes:
    return Raw().add(b"(", b"X\x05\x00\x00\x00touchios\nsystem\n").end()


def persistent_id(folder: Path) -> bytes:
    return Raw().add(b"Panything\n").end()


def extension(folder: Path) -> bytes:
    return Raw().add(b"\x82\x01").end()


def array_of_objects(folder: Path) -> bytes:
    return Raw().array((1,), b"\0" * 8, "O8").end()


def array_larger_than_the_file(folder: Path) -> bytes:
    return Raw().array((1 << 44,), b"\0" * 4).end()


def array_of_a_subclass(folder: Path) -> bytes:
    return (
        Raw().named("numpy.core.multiarray", "_reconstruct").named("numpy", "dtype").add(b"K\x00\x85C\x01b\x87R").end()
    )


def array_called_for(folder: Path) -> bytes:
    return Raw().named("numpy", "ndarray").number(1 << 44).add(b"\x85\x85R").end()


def long_text_that_is_not_there(folder: Path) -> bytes:
    return Raw().add(b"\x8d", (1 << 44).to_bytes(8, "little"), b"abc").end()


def long_frame(folder: Path) -> bytes:
    return Raw().add(b"\x95", (1 << 62).to_bytes(8, "little"), b"N").end()


def high_memo_index(folder: Path) -> bytes:
    return Raw().add(b"Nr\xff\xff\xff\xff").end()


def large_number(folder: Path) -> bytes:
    return Raw().add(b"\x8b", (1 << 20).to_bytes(4, "little"), b"\x01" * (1 << 20)).end()


def nested_tuples(levels: int) -> Raw:
    raw = Raw().text("x")
    for _ in range(levels):
        raw.add(b"2\x86")
    return raw


def tuple_of_tuples_as_a_key(folder: Path) -> bytes:
    raw = Raw().add(b"}(")
    raw.content.write(nested_tuples(60).content.getvalue()[2:].replace(b"2\x86", b"q\x00h\x00\x86"))
    return raw.add(b"Nu").end()


def tuple_of_tuples_as_a_setting(folder: Path) -> bytes:
    value: tuple = ("x",)
    for _ in range(60):
        value = (value, value)
    with official_class():
        network = generator("generator_cond_r32")
        network.static_kwargs["blur_filter"] = value
        return pickle.dumps(network)


def tuple_of_tuples_as_a_dtype(folder: Path) -> bytes:
    raw = Raw().named("numpy", "dtype")
    raw.content.write(nested_tuples(60).content.getvalue()[2:].replace(b"2\x86", b"q\x00h\x00\x86"))
    return raw.add(b"\x89\x88\x87R").end()


def too_many_instructions(folder: Path) -> bytes:
    return Raw().add(b"]" * (MOST_INSTRUCTIONS + 10)).end()


def compressed(folder: Path) -> bytes:
    return gzip.compress(b"\0" * (1 << 26))


def marks_alone(folder: Path) -> bytes:
    return Raw().add(b"((((").end()


def empty_stack(folder: Path) -> bytes:
    return Raw().add(b"u").end()


def half_of_a_snapshot(folder: Path) -> bytes:
    return OFFICIAL.read_bytes()[: OFFICIAL.stat().st_size // 2]


def snapshot_without_its_last_byte(folder: Path) -> bytes:
    return OFFICIAL.read_bytes()[:-1]


def list_of_numbers(folder: Path) -> bytes:
    return pickle.dumps([1, 2, 3, 4])


def stylegan3_pickle(folder: Path) -> bytes:
    return Raw().add(b"}(").text("G").named("torch_utils.persistence", "_reconstruct_persistent_obj").add(b"u").end()


def checkpoint_that_calls(folder: Path) -> bytes:
    content = io.BytesIO()
    torch.save({"g_running": Calls(os.system, f"touch {folder / EXECUTED}")}, content)
    return content.getvalue()


def old_checkpoint_that_calls(folder: Path) -> bytes:
    content = io.BytesIO()
    call = Calls(os.system, f"touch {folder / EXECUTED}")
    torch.save({"g_running": call}, content, _use_new_zipfile_serialization=False)
    return content.getvalue()


def checkpoint_bomb(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", b"\0" * (1 << 26))
    return content.getvalue()


def half_of_a_checkpoint(folder: Path) -> bytes:
    content = io.BytesIO()
    torch.save({"x": torch.zeros(1000)}, content)
    return content.getvalue()[:2000]


def checkpoint_of_something_else(folder: Path) -> bytes:
    content = io.BytesIO()
    torch.save({"layer.weight": torch.zeros(3)}, content)
    return content.getvalue()


def checkpoint_of_a_tensor(folder: Path) -> bytes:
    content = io.BytesIO()
    torch.save(torch.zeros(3), content)
    return content.getvalue()


def checkpoint_with_half_a_generator(folder: Path) -> bytes:
    content = io.BytesIO()
    torch.save({"g_running": {"generator.progression.0.conv1.input": torch.zeros(1, 4, 4, 4)}}, content)
    return content.getvalue()


def one_array_named_a_thousand_times(folder: Path) -> bytes:
    with official_class():
        network = generator("generator_cond_r32")
        shared = np.zeros((3, 3, 1 << 8, 1 << 8), np.float16)
        network.variables = [(f"G_mapping/Dense{i}/weight", shared) for i in range(999)]
        return pickle.dumps(network)


def one_text_made_bytes_a_thousand_times(folder: Path) -> bytes:
    raw = (
        Raw().named("_codecs", "encode").add(b"q\x00").text("x" * (1 << 20)).add(b"q\x01").text("latin1").add(b"q\x02")
    )
    return raw.add(b"h\x00h\x01h\x02\x86R" * 1000).end()


def checkpoint_of_a_tensor_that_repeats_a_number(folder: Path) -> bytes:
    content = io.BytesIO()
    large = torch.zeros(1, dtype=torch.float16).expand(1 << 20, 1 << 20)
    torch.save({"g_running": {"generator.progression.0.conv1.input": large}}, content)
    return content.getvalue()


HOSTILE: list[Callable[[Path], bytes]] = [
    system_call,
    source_in_a_global,
    function_of_a_function,
    dotted_name,
    call_inside_a_snapshot,
    the_network_class_called,
    old_style_instance,
    persistent_id,
    extension,
    array_of_objects,
    array_larger_than_the_file,
    array_of_a_subclass,
    array_called_for,
    long_text_that_is_not_there,
    long_frame,
    high_memo_index,
    large_number,
    one_array_named_a_thousand_times,
    one_text_made_bytes_a_thousand_times,
    checkpoint_of_a_tensor_that_repeats_a_number,
    tuple_of_tuples_as_a_key,
    tuple_of_tuples_as_a_setting,
    tuple_of_tuples_as_a_dtype,
    too_many_instructions,
    compressed,
    marks_alone,
    empty_stack,
    half_of_a_snapshot,
    snapshot_without_its_last_byte,
    list_of_numbers,
    stylegan3_pickle,
    checkpoint_that_calls,
    old_checkpoint_that_calls,
    checkpoint_bomb,
    half_of_a_checkpoint,
    checkpoint_of_something_else,
    checkpoint_of_a_tensor,
    checkpoint_with_half_a_generator,
]
