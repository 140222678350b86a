"""install(): projects in a folder of their own, unchanged, on our ops."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stylegan_fast
from stylegan_fast import interop
from stylegan_fast.interop import nvlabs, rosinality

COMPILES = "raise RuntimeError('No module named upfirdn2d_plugin')\n"
THEIRS = "def upfirdn2d(*a): return 'theirs'\nclass FusedLeakyReLU: pass\nenabled = False\n"


def project(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(root).parents:
            if str(folder) != ".":
                (root / folder / "__init__.py").touch()
        path.write_text(content)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    interop.uninstall()
    for name in set(sys.modules) - before:
        if not name.startswith("stylegan_fast"):
            del sys.modules[name]


def test_nvidia_style_project_runs_without_its_plugins(root: Path) -> None:
    project(root, {f"torch_utils/ops/{name}.py": COMPILES for name in nvlabs.MODULES})
    project(
        root, {"networks.py": "from torch_utils.ops import bias_act, upfirdn2d, conv2d_gradfix\nimport torch_utils"}
    )
    assert interop.install() == []
    networks = importlib.import_module("networks")
    assert networks.bias_act is nvlabs.bias_act
    assert networks.upfirdn2d.upfirdn2d is stylegan_fast.upfirdn2d
    assert networks.torch_utils.ops.conv2d_gradfix is networks.conv2d_gradfix
    networks.conv2d_gradfix.enabled = True  # as the training loops do
    for name in nvlabs.MODULES:
        assert importlib.import_module(f"torch_utils.ops.{name}") is getattr(nvlabs, name)


def test_packages_within_packages_are_recognised(root: Path) -> None:
    project(root, {"third_party/stylegan3/torch_utils/ops/fma.py": COMPILES})
    nvlabs.install()
    assert importlib.import_module("third_party.stylegan3.torch_utils.ops.fma").fma is nvlabs.fma.fma


def test_rosinality_style_project_runs_without_compiling(root: Path) -> None:
    project(root, {f"models/stylegan2/op/{name}.py": COMPILES for name in ("fused_act", "upfirdn2d")})
    (root / "models/stylegan2/op/__init__.py").write_text(
        "from .fused_act import FusedLeakyReLU, fused_leaky_relu\nfrom .upfirdn2d import upfirdn2d\n"
    )
    project(root, {"basicsr/ops/fused_act/__init__.py": COMPILES})
    rosinality.install()
    op = importlib.import_module("models.stylegan2.op")
    assert op.FusedLeakyReLU is rosinality.FusedLeakyReLU
    assert op.upfirdn2d is rosinality.upfirdn2d
    assert importlib.import_module("basicsr.ops.fused_act").fused_leaky_relu is rosinality.fused_leaky_relu


def test_other_modules_of_these_names_are_left_alone(root: Path) -> None:
    project(root, {"mmcv/ops/upfirdn2d.py": "theirs = True", "torch_utils/misc.py": "theirs = True"})
    interop.install()
    assert importlib.import_module("mmcv.ops.upfirdn2d").theirs
    assert importlib.import_module("torch_utils.misc").theirs
    assert importlib.import_module("stylegan_fast.ops.upfirdn2d").__name__ == "stylegan_fast.ops.upfirdn2d"


def test_a_package_of_another_name_is_named(root: Path) -> None:
    project(root, {"mine/kernels/upfirdn2d.py": COMPILES, "mine/other/upfirdn2d.py": "theirs = True"})
    rosinality.install("mine.kernels")
    assert importlib.import_module("mine.kernels.upfirdn2d") is rosinality
    assert importlib.import_module("mine.other.upfirdn2d").theirs


def test_installed_late_it_replaces_what_was_imported_from_the_project(root: Path) -> None:
    project(root, {"op/upfirdn2d.py": THEIRS})
    project(
        root,
        {"late.py": "import op.upfirdn2d\nfrom op.upfirdn2d import upfirdn2d, enabled\nfrom op import upfirdn2d as m"},
    )
    late = importlib.import_module("late")
    kept = late.m
    assert kept.upfirdn2d() == "theirs"
    assert rosinality.install() == ["op.upfirdn2d"]
    assert late.upfirdn2d is rosinality.upfirdn2d
    assert late.m is rosinality
    assert late.op.upfirdn2d is rosinality
    assert late.enabled is False
    interop.uninstall()
    assert late.m is kept
    assert late.op.upfirdn2d is kept
    assert late.upfirdn2d() == "theirs"
    assert sys.modules["op.upfirdn2d"] is kept


def test_uninstall_gives_the_projects_own_modules_again(root: Path) -> None:
    project(root, {"op/upfirdn2d.py": THEIRS})
    interop.install()
    assert importlib.import_module("op.upfirdn2d") is rosinality
    interop.uninstall()
    assert importlib.import_module("op.upfirdn2d").upfirdn2d() == "theirs"
    assert interop.install() == ["op.upfirdn2d"]
