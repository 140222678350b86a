"""Class labels: from ``dataset.json`` at the root of a data set, else from its sub-folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from stylegan_fast.errors import UserError

MAX_CLASSES = 65536
"""Labels are used one-hot; a larger number is a mistake rather than a class."""


@dataclass(frozen=True)
class Labels:
    """``by_name``: class of each labelled image. ``num_classes``: largest class + 1. ``class_names`` or None."""

    by_name: dict[str, int]
    num_classes: int
    class_names: list[str] | None


def parse_dataset_json(content: bytes, where: str) -> dict[str, Any]:
    """The object in a ``dataset.json``; raises ``UserError`` where it is not one."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"dataset.json in {where} is not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(parsed, dict):
        raise UserError(f"dataset.json in {where} must hold an object with 'labels', got {type(parsed).__name__}")
    return parsed


def labels_from_json(parsed: dict[str, Any], where: str) -> Labels | None:
    """Labels in the form ``{"labels": [[name, int], ...]}``; None where they are null or left out.

    An optional list ``"classes"`` names the classes. Raises ``UserError`` on anything else.
    """
    entries = parsed.get("labels")
    if entries is None:
        return None
    if not isinstance(entries, list):
        raise UserError(f"'labels' in dataset.json in {where} must be a list of [name, class], got {_short(entries)}")
    by_name: dict[str, int] = {}
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise UserError(f"a label in dataset.json in {where} is {_short(entry)}; it must be [name, class]")
        name, label = entry
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < MAX_CLASSES:
            raise UserError(
                f"the label of {name!r} in dataset.json in {where} is {_short(label)}; "
                f"it must be an integer from 0 to {MAX_CLASSES - 1}"
            )
        by_name[name.replace("\\", "/").removeprefix("./")] = label
    if not by_name:
        return None
    num_classes = max(by_name.values()) + 1
    names = parsed.get("classes")
    if not (isinstance(names, list) and len(names) >= num_classes and all(isinstance(name, str) for name in names)):
        return Labels(by_name, num_classes, None)
    return Labels(by_name, len(names), list(names)) if len(names) <= MAX_CLASSES else Labels(by_name, num_classes, None)


def labels_from_folders(names: list[str]) -> Labels | None:
    """The class of an image is the first folder in which names differ, classes in sorted order.

    None where all images lie in one folder. Images beside the class folders stay without a label.
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    depth = 0
    while folders and all(len(folder) > depth and folder[depth] == folders[0][depth] for folder in folders):
        depth += 1
    classes = sorted({folder[depth] for folder in folders if len(folder) > depth})
    if not classes:
        return None
    if len(classes) > MAX_CLASSES:
        raise UserError(f"{len(classes)} sub-folders are too many to be classes (the limit is {MAX_CLASSES})")
    number = {name: place for place, name in enumerate(classes)}
    by_name = {name: number[folder[depth]] for name, folder in zip(names, folders, strict=True) if len(folder) > depth}
    return Labels(by_name, len(classes), classes)


def require_label_for_each(names: list[str], labels: Labels | None, where: str) -> Labels:
    """``labels``, or ``UserError`` where any of ``names`` has none."""
    if labels is None:
        raise UserError(
            f"{where} has no labels: it needs a dataset.json with 'labels', or one sub-folder for each class"
        )
    missing = [name for name in names if name not in labels.by_name]
    if missing:
        raise UserError(f"{len(missing)} of {len(names)} images in {where} have no label; the first is {missing[0]!r}")
    return labels


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
