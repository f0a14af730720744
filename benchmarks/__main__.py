"""One suite of everything that is measured, beside what one would use instead.

    python -m benchmarks [full] [PART ...]       short by default; parts: see --help
    python -m benchmarks report [FILE ...]       the tables of these results (the newest of each part) as Markdown
    python -m benchmarks report --write          ... put into docs/performance.md

Every part runs in a process of its own. Results are printed as tables and kept in benchmarks/results/*.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measured import Row, as_json, from_json, markdown

__all__ = ["main"]

PARTS = ("limits", "commit", "visible", "factors", "intake", "history", "offsets", "reading", "space")
RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- begin of the tables -->", "<!-- end of the tables -->"
LIBRARIES = ("duckdb", "pyarrow", "pandas", "polars", "aiohttp", "msgspec")


def machine() -> dict[str, Any]:
    """Where and with what the figures are taken, and how busy it is besides."""
    name = platform.processor()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        named = [
            line.split(":", 1)[1].strip() for line in facts.read_text().splitlines() if line.startswith("model name")
        ]
        name = named[0] if named else name
    return {
        "processor": name or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {library: version(library) for library in LIBRARIES},
        "load": round(psutil.getloadavg()[0], 1),
    }


def measure(part: str, full: bool, folder: Path, into: Path) -> None:
    """Measure a part here; its rows are in the file as soon as they are there."""
    found: list[dict[str, Any]] = []
    began = time.perf_counter()
    about = machine()
    for row in importlib.import_module(f"benchmarks.parts.{part}").measure(full, folder):
        print(markdown([row]).splitlines()[-1], flush=True)
        found.append(as_json(row))
        result = {
            "part": part,
            "full": full,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - began, 1),
            "machine": about | {"load_after": round(psutil.getloadavg()[0], 1)},
            "rows": found,
        }
        keep(result, into)
    if found:
        keep(result | {"complete": True}, into)


def keep(result: dict[str, Any], into: Path) -> None:
    """Put it into the file, whole or not at all."""
    partial = into.with_suffix(".part")
    partial.write_text(json.dumps(result, indent=1), "utf-8")
    partial.replace(into)


def run(parts: list[str], full: bool, folder: Path | None) -> int:
    """Measure each part in a process of its own, and print the tables."""
    RESULTS.mkdir(exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    files, failed = [], []
    for part in parts:
        print(f"--- {part}", flush=True)
        path = RESULTS / f"{stamp}-{part}.json"
        command = [sys.executable, "-m", "benchmarks", *(["full"] if full else []), part, "--into", str(path)]
        with tempfile.TemporaryDirectory(dir=folder, prefix="bmacdb-bench-") as temporary:
            if subprocess.run([*command, "--folder", temporary], check=False).returncode:
                failed.append(part)
        if path.exists():
            files.append(path)
    print("\n" + report(files))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def newest() -> list[Path]:
    """The newest result of each part, a complete and full one rather than a short one."""
    best: dict[str, tuple[bool, bool, str, Path]] = {}
    for path in RESULTS.glob("*.json"):
        found = json.loads(path.read_text("utf-8"))
        rank = (bool(found.get("complete")), bool(found["full"]), str(found["at"]), path)
        best[found["part"]] = max(best.get(found["part"], rank), rank)
    return [best[part][3] for part in PARTS if part in best]


def report(files: list[Path]) -> str:
    """The tables of these results as Markdown, and where they were taken."""
    lines: list[str] = []
    rows: list[Row] = []
    for path in files:
        found = json.loads(path.read_text("utf-8"))
        about = found["machine"]
        if not lines:
            libraries = ", ".join(f"{name} {number}" for name, number in about["libraries"].items())
            where = f"{about['processor']}, {about['cores']} cores, {about['memory_gb']} GB, {about['system']}"
            lines += [f"{where}; Python {about['python']}, {libraries}.", ""]
            lines += ["| part | taken | took | load before and after |", "|---|---|---|---|"]
        kind = "full" if found["full"] else "short"
        load = f"{about['load']}, {about['load_after']}"
        lines.append(f"| {found['part']} | {found['at']}, {kind} | {found['seconds']:.0f} s | {load} |")
        rows += [from_json(row) for row in found["rows"]]
    return "\n".join([*lines, "", markdown(rows)])


def main() -> int:
    """Measure, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"full, report, or parts of {', '.join(PARTS)}")
    parser.add_argument("--folder", type=Path, help="where to make files (a temporary folder)")
    parser.add_argument("--write", action="store_true", help=f"report: put the tables into {PAGE.name}")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    what: list[str] = options.what
    if what[:1] == ["report"]:
        text = report([Path(one) for one in what[1:]] or newest())
        if not options.write:
            print(text)
            return 0
        page = PAGE.read_text("utf-8")
        head, rest = page.split(BEGIN, 1)
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}", "utf-8")
        return 0
    full = what[:1] == ["full"]
    parts = what[1:] if full or what[:1] == ["short"] else what
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.into:
        measure(parts[0], full, options.folder, options.into)
        return 0
    return run(parts or list(PARTS), full, options.folder)


if __name__ == "__main__":
    raise SystemExit(main())
