"""Puts our modules where another project's own would be imported from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Replacement(MetaPathFinder):
    """A family of modules that ours stand in for, in every package that has them.

    While installed, ``import <package>.<name>`` gives our module for every name of the family: the project's file is
    neither read nor executed, so that nothing is compiled. Modules that were imported before are replaced as well,
    and so is what other modules imported from them; objects already made of their classes stay what they are.

    Args:
        homes: our module, by its name in the package.
        belongs: whether a package is one of the family's, where none were named.
    """

    def __init__(self, homes: Mapping[str, str], belongs: Callable[[str], bool]) -> None:
        self.homes = dict(homes)
        self.belongs = belongs
        self.packages: set[str] = set()
        self.everywhere = False
        self.taken: list[tuple[dict[str, Any], str, Any]] = []

    def install(self, *packages: str) -> list[str]:
        """Replaces the family's modules in these packages, by default wherever they are recognised.

        Returns:
            The modules that were imported already and have been replaced now; those imported later are not known yet.
        """
        self.packages.update(packages)
        self.everywhere = self.everywhere or not packages
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        found = [name for name, module in sys.modules.items() if self._is_theirs(name, module)]
        for name in found:
            self._take_over(name)
        return found

    def uninstall(self) -> None:
        """Puts everything back: what is imported from now on is the projects' own again."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in [name for name in sys.modules if self.home_of(name)]:
            module = sys.modules.pop(name)
            package, _, child = name.rpartition(".")
            parent = sys.modules.get(package)
            if parent is not None and vars(parent).get(child) is module:
                delattr(parent, child)
        for namespace, name, value in reversed(self.taken):
            namespace[name] = value
        self.taken.clear()
        self.packages.clear()
        self.everywhere = False

    def home_of(self, fullname: str) -> str | None:
        """Our module for one of this name; None if there is none."""
        package, _, name = fullname.rpartition(".")
        if name in self.homes and (package in self.packages or (self.everywhere and self.belongs(package))):
            return self.homes[name]
        return None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        home = self.home_of(fullname)
        return None if home is None else ModuleSpec(fullname, _Alias(home))

    def _is_theirs(self, name: str, module: ModuleType) -> bool:
        home = self.home_of(name)
        return home is not None and isinstance(module, ModuleType) and module is not sys.modules.get(home)

    def _take_over(self, name: str) -> None:
        theirs, ours = sys.modules[name], importlib.import_module(self.homes[name.rpartition(".")[2]])
        stands_for: dict[int, Any] = {id(theirs): ours}
        for attribute, value in vars(theirs).items():
            # Flags and numbers are not told from equal ones elsewhere by identity; functions and classes are.
            home = str(getattr(value, "__module__", ""))
            if callable(value) and home.startswith(theirs.__name__) and hasattr(ours, attribute):
                stands_for[id(value)] = getattr(ours, attribute)
        namespaces = [vars(module) for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
        for namespace in namespaces:
            for attribute, value in list(namespace.items()):
                if id(value) in stands_for:
                    self._set(namespace, attribute, stands_for[id(value)])
        self._set(sys.modules, name, ours)

    def _set(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        self.taken.append((namespace, name, namespace[name]))
        namespace[name] = value


class _Alias(Loader):
    """Loads a module by taking another one for it."""

    def __init__(self, home: str) -> None:
        self.home = home

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import machinery hands on whatever stands here afterwards.
        sys.modules[module.__name__] = importlib.import_module(self.home)
