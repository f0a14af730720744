"""The subscriber of docs/stream.md, which uses nothing of bmacdb, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.reading.conftest import start_recorder  # noqa: F401  (a fixture)
from tests.reading.feeding import FEED, SYMBOLS

PAGE = Path(__file__).parents[2] / "docs" / "stream.md"


def test_the_subscriber_of_the_page_gets_every_row(
    tmp_path: Path,
    start_recorder: Callable[[], subprocess.Popen[str]],  # noqa: F811
) -> None:
    """It asks for one read when it joins, then prints the rows of whole periods without a gap."""
    text, *_ = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    start_recorder()
    subscriber = subprocess.Popen(
        [sys.executable, "-c", text, str(tmp_path / "bmac.duckdb"), FEED.name], stdout=subprocess.PIPE, text=True
    )
    try:
        assert subscriber.stdout is not None
        lines = [subscriber.stdout.readline() for _ in range(62)]
    finally:
        subscriber.kill()
        subscriber.communicate()
    missed = [place for place, line in enumerate(lines) if line.startswith("read the database again")]
    assert missed == [0]
    assert {line.split()[0] for line in lines[1:]} == set(SYMBOLS)
    assert all(line.rstrip().endswith(" ws") for line in lines[1:])
