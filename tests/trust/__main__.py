"""The long form: `python -m tests.trust [matrix|crashes|interrupted|disk|soak …]`, all of it without a name."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import pytest

from .crashes import Crashes, crash
from .interrupted import main as interrupted_main
from .matrix import run_matrix, table
from .soak import main as soak_main

__all__ = ["main"]


def matrix(arguments: argparse.Namespace) -> bool:
    lines = asyncio.run(
        run_matrix(
            seed=arguments.seed,
            speed=arguments.speed or 15.0,
            together=arguments.together,
            only=arguments.only,
            told=lambda line: print(f"{'FAILED' if line.complaints else 'ok':6} {line.cell.name}", flush=True),
        )
    )
    print(table(lines))
    failed = [line for line in lines if line.complaints]
    for line in failed:
        print(f"\n{line.cell.name}, seed {line.seed}:", *line.complaints, sep="\n  ")
    return not failed


def say(line: str) -> None:
    print(line, flush=True)


def crashes(arguments: argparse.Namespace) -> bool:
    async def lanes() -> list[Crashes]:
        with tempfile.TemporaryDirectory(prefix="bmacdb-crashes-") as home:
            async with asyncio.TaskGroup() as tasks:
                running = []
                for lane in range(_LANES):
                    (directory := Path(home, str(lane))).mkdir()
                    kills = -(-arguments.kills // _LANES)
                    seed = arguments.seed + lane
                    running.append(tasks.create_task(crash(directory, seed=seed, kills=kills, told_of=say)))
            return [task.result() for task in running]

    done = asyncio.run(lanes())
    for one in done:
        kills = ", ".join(f"{count} {moment}" for moment, count in sorted(one.kills.items()))
        print(f"seed {one.seed}: {one.kills.total()} kills ({kills}), {one.with_log} left a log, {one.rows} rows agree")
        for complaint in one.complaints:
            print(f"  WRONG: {complaint}")
    return not any(one.complaints for one in done)


def interrupted(arguments: argparse.Namespace) -> bool:
    kills = -(-arguments.kills // 4)  # of each of four parts
    return interrupted_main(["--kills", str(kills), "--seed", str(arguments.seed)]) == 0


def disk(arguments: argparse.Namespace) -> bool:
    return pytest.main(["-q", str(Path(__file__).parent / "test_disk.py")]) == 0


def soaked(arguments: argparse.Namespace) -> bool:
    return (
        soak_main(["--seed", str(arguments.seed), *(["--speed", str(arguments.speed)] if arguments.speed else [])]) == 0
    )


PARTS = {"matrix": matrix, "crashes": crashes, "interrupted": interrupted, "disk": disk, "soak": soaked}
_LANES = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} [default: all]")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--speed", type=float, help="how many times faster than real time the exchange's clock runs")
    parser.add_argument("--together", type=int, default=6, help="cells of the matrix that run at the same time")
    parser.add_argument("--kills", type=int, default=120, help="of recorders; and of imports and resampling")
    parser.add_argument("--only", default="", help="cells of the matrix whose name has this in it")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    passed = [PARTS[name](arguments) for name in arguments.parts or PARTS]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
