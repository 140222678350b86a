"""What `accelerate` did to a model, and what it left alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class Entry:
    """One module: its name in the model, the class it had, and what was done to it or why nothing."""

    name: str
    class_name: str
    text: str


@dataclass
class Report:
    """The outcome of `accelerate`.

    Attributes:
        replaced: modules that compute the same with our ops now (with ``dry_run``: that would).
        kept: modules that looked like it and stay as they were, with the reason.
        largest_difference: of the model's outputs before and after on the sample input, as a share of each output's
            largest magnitude; None without a sample input.
        dry_run: whether the model was left as it was.
    """

    replaced: list[Entry] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)
    largest_difference: float | None = None
    dry_run: bool = False
    originals: list[tuple[nn.Module, type[nn.Module]]] = field(default_factory=list, repr=False)

    def revert(self) -> None:
        """Makes the model again what it was."""
        for module, original in reversed(self.originals):
            module.__class__ = original
        self.originals.clear()

    def __str__(self) -> str:
        verb = "would replace" if self.dry_run else "replaced"
        lines = [f"{verb} {len(self.replaced)} modules, kept {len(self.kept)} candidates"]
        for title, entries in ((verb, self.replaced), ("kept", self.kept)):
            counted = Counter((entry.class_name, entry.text) for entry in entries)
            lines += [f"  {title} {count} x {class_name}: {text}" for (class_name, text), count in counted.items()]
        if self.largest_difference is not None:
            lines.append(f"largest difference of an output: {self.largest_difference:.2g} of its largest value")
        return "\n".join(lines)
