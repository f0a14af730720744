"""The house rules that a test can hold."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import bmacdb

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "bmacdb").rglob("*.py"))

PUBLIC = {
    "BmacdbError",
    "ConfigError",
    "ExchangeError",
    "Market",
    "Reader",
    "StoreError",
    "UsageError",
    "__version__",
    "connect",
    "subscribe",
}
"""What `import bmacdb` promises. A name leaves this list with a deprecation, not by accident."""

MOST_LINES = 450

MACHINE_PATHS = ("/root/", "/home/", "/Users/", "C:\\Users")

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the source tree")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in MODULES:
        yield name_of(path), ast.parse(path.read_text("utf-8"))


def test_the_package_root_exports_what_it_promises() -> None:
    """The public names are pinned, and every one of them exists."""
    assert set(bmacdb.__all__) == PUBLIC
    assert [name for name in PUBLIC if not hasattr(bmacdb, name)] == []


def test_every_module_says_what_it_exports() -> None:
    """`__all__` stands in every module that defines anything."""
    silent = []
    for name, tree in parsed():
        targets = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        defines = any(not isinstance(node, ast.Expr) for node in tree.body)
        if defines and "__all__" not in targets:
            silent.append(name)
    assert silent == []


def test_every_module_says_what_it_is() -> None:
    """A module begins with its docstring."""
    assert [name for name, tree in parsed() if not ast.get_docstring(tree)] == []


def test_the_machines_clock_is_read_in_one_place() -> None:
    """`datetime.now()`, `time.time()` and their kin stand in clock.py alone: time is passed in."""
    read = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
    read |= {("time", "time"), ("time", "time_ns")}
    found = [
        f"{name}:{node.lineno}"
        for name, tree in parsed()
        if name != "bmacdb/clock.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) in read
    ]
    assert found == []


def test_no_exception_is_swallowed_wholesale() -> None:
    """A bare or broad `except` raises again, or its module says in a comment on such a line why it does not."""
    found = []
    for name, tree in parsed():
        lines = (ROOT / name).read_text("utf-8").splitlines()
        silent = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.ExceptHandler)
            and _is_broad(node)
            and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        ]
        if not any("# " in lines[number - 1] for number in silent):
            found += [f"{name}:{number}" for number in silent]
    assert found == []


def _is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = ("Exception", "BaseException")
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in broad) for kind in kinds)


def test_modules_stay_readable_at_one_sitting() -> None:
    """A module that grows past the limit is split, or says here why not."""
    sizes = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in sizes.items() if lines > MOST_LINES} == {}


def test_results_alone_go_to_stdout() -> None:
    """Nothing below the command line prints."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in parsed()
        if not name.startswith("bmacdb/cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_nothing_names_a_path_of_some_machine() -> None:
    """What is shipped or documented works wherever it is put."""
    texts = [*MODULES, *(ROOT / "bmacdb").rglob("*.sql"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts += [ROOT / "pyproject.toml", ROOT / "Justfile"]
    found = [
        f"{name_of(path)}: {word}"
        for path in texts
        if path.is_file()
        for word in MACHINE_PATHS
        if word in path.read_text("utf-8")
    ]
    assert found == []


def test_every_package_is_installed() -> None:
    """A folder of modules without `__init__.py` would be missing from an installation."""
    folders = {path.parent for path in MODULES}
    assert [name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_files_have_unix_lines_and_no_tabs() -> None:
    """Files are alike on every platform."""
    assert [name_of(path) for path in MODULES if b"\r" in path.read_bytes() or b"\t" in path.read_bytes()] == []


def test_the_version_stands_in_one_place() -> None:
    """The package says its version, and the wheel takes it from there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "bmacdb.__version__"
    assert bmacdb.__version__ == version("bmacdb")


def test_every_decision_is_listed() -> None:
    """The index of docs/decisions names each record."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")
    assert [one.name for one in folder.glob("[0-9]*.md") if f"({one.name})" not in index] == []
