"""Pickles and checkpoints strangers made: one line, at once, nothing executed, no memory beyond the file's size."""

import gzip
import io
import os
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import stylegan_fast
from stylegan_fast.errors import UserError
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


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_a_hostile_or_damaged_file_gives_one_line_and_does_nothing(make: Callable, tmp_path: Path) -> None:
    content = make(tmp_path)
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(UserError) as caught:
            stylegan_fast.load_generator(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    assert not (tmp_path / EXECUTED).exists()
    assert time.perf_counter() - started < 20
    assert peak < 4 * len(content) + (100 << 20)


def test_any_cut_through_a_snapshot_is_told(tmp_path: Path) -> None:
    content = OFFICIAL.read_bytes()
    path = tmp_path / "network.pkl"
    for length in np.unique(np.geomspace(2, len(content) - 1, 40).astype(int)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError):
            stylegan_fast.load_generator(path)


def test_flipped_bytes_never_raise_anything_but_a_user_error(tmp_path: Path) -> None:
    content = bytearray(OFFICIAL.read_bytes())
    draw = np.random.default_rng(0)
    path = tmp_path / "network.pkl"
    for place in draw.integers(0, 90_000, 12):  # where names, settings and small arrays are
        changed = bytearray(content)
        changed[place] = int(draw.integers(256))
        path.write_bytes(changed)
        try:
            stylegan_fast.load_generator(path)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017 (a changed number changes a picture, and raises nothing)


def test_the_source_in_a_snapshot_is_not_executed(tmp_path: Path) -> None:
    with official_class():
        content = generator("generator_cond_r32")
        content.build_module_src = f"open({str(tmp_path / EXECUTED)!r}, 'w')"
        path = tmp_path / "network.pkl"
        path.write_bytes(pickle.dumps(content))
    assert stylegan_fast.load_generator(path).img_resolution == 32
    assert not (tmp_path / EXECUTED).exists()
