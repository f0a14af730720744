"""What README and docs say is true: every command in them runs, every option and page exists."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bmacdb.cli.main import VERBS
from bmacdb.cli.rehearsal import StandIn, stand_in
from bmacdb.config import OPTIONS, load_settings
from bmacdb.errors import UsageError
from bmacdb.interval import MINUTE_MS
from bmacdb.symbols import parse_feed

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    'pip install -c constraints.txt -e ".[dev]" && bmacdb demo': "a set-up; the demo has a test of its own",
    'pip install -c constraints.txt -e ".[dev]" && pytest': "a set-up, and these tests themselves",
}
"""Commands that no test runs, and why."""

FOR_EVER = ("bmacdb simulate", "bmacdb status --watch", "bmacdb receive", "bmacdb record --from")
"""Commands that end when they are told to; they are started, and interrupted when they have said something."""

RECORD_THEMSELVES = ("README.md", "configuration.md")
"""Pages whose commands begin with an empty directory; the others find a database of the feeds that they name."""

NO_RECORDER = "bmacdb status"
"""Fails where no recorder is alive, as in an empty directory."""

PREDECESSOR = '{"interval": "1m", "trade_type": "usdt_deli", "num_candles": 60}'
SPEED = 60.0
SECONDS = 100

needs_sh = pytest.mark.skipif(os.name == "nt", reason="the commands are written for a POSIX shell")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield Block(page, language, text)


def commands(page: Path) -> list[str]:
    """The commands of a page's shell blocks in order, each once; continued lines joined."""
    lines = [
        line
        for block in blocks(page)
        if block.language in ("sh", "bash", "shell", "console")
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    return list(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))


def short_feeds(page: Path) -> list[str]:
    """The feeds that a page names, as far as their run times come soon."""
    named = dict.fromkeys(re.findall(r"\b[a-z]+_[a-z_]+_[0-9]+[smhdw]\b", page.read_text("utf-8")))
    feeds = []
    for name in named:
        with suppress(UsageError):
            feeds += [name] if parse_feed(name).interval.length_ms <= 5 * MINUTE_MS else []
    return feeds


@pytest.fixture(scope="module")
def exchange() -> Iterator[StandIn]:
    with stand_in(speed=SPEED, arguments=("--symbols", "4")) as running:
        yield running


def environment(command: str, exchange: StandIn) -> dict[str, str]:
    """What makes a recorder of the docs small, near and finite, without touching what is written."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BMACDB_")}
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")])
    environ |= {"BMACDB_NUM_CANDLES": "60", "BMACDB_PERIODS": "1", "PYTHONWARNINGS": "default"}
    if "--simulate" not in command:
        environ["BMACDB_REST_URL"], environ["BMACDB_WS_URL"] = exchange.rest_url, exchange.ws_url
        environ["BMACDB_ARCHIVE_URL"] = f"{exchange.rest_url}/archive"
        environ["BMACDB_CLOCK_RATE"] = str(exchange.speed)
    return environ


def here(command: str, exchange: StandIn) -> str:
    """The command with the stand-in's addresses where the real exchange's are written."""
    command = re.sub(r"https://[\w.-]*binance[\w.:-]*", exchange.rest_url, command)
    return re.sub(r"wss://[\w.-]*binance[\w.:-]*", exchange.ws_url, command)


def run(command: str, where: Path, exchange: StandIn) -> None:
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command}" if command.startswith("bmacdb") else command],
        cwd=where,
        env=environment(command, exchange),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    with process:
        try:
            if command.startswith(FOR_EVER):
                said = process.stdout.readline()
                process.send_signal(signal.SIGINT)
                said += process.communicate(timeout=SECONDS)[0]
                assert process.returncode in (0, 130), f"{command}\n{said}"
            else:
                said = process.communicate(timeout=SECONDS)[0]
                allowed = (0, 1) if command.startswith(NO_RECORDER) else (0,)
                assert process.returncode in allowed, f"{command}\n{said}"
        finally:
            process.kill()
    assert "Traceback" not in said, f"{command}\n{said}"


@needs_sh
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_every_command_of_a_page_runs(page: Path, tmp_path: Path, exchange: StandIn) -> None:
    """From an empty directory, in the order in which they stand, against a stand-in exchange."""
    (tmp_path / "my_bmac_dir").mkdir()
    (tmp_path / "my_bmac_dir" / "config.json").write_text(PREDECESSOR)
    if page.name not in RECORD_THEMSELVES and (feeds := short_feeds(page)):
        run("bmacdb run " + " ".join(f"--feed {name}" for name in feeds), tmp_path, exchange)
    for command in commands(page):
        if command not in NOT_RUN:
            run(here(command, exchange), tmp_path, exchange)


def test_what_is_not_run_is_still_written() -> None:
    """The list of exceptions holds no command that has left the pages."""
    written = {command for page in PAGES for command in commands(page)}
    assert [command for command in NOT_RUN if command not in written] == []


def test_configurations_in_the_pages_load(tmp_path: Path) -> None:
    """Every bmacdb.toml and config.json that is shown is accepted as it stands."""
    loaded = 0
    for page in PAGES:
        for block in blocks(page):
            name = {"toml": "bmacdb.toml", "json": "config.json"}.get(block.language)
            if name is None or not re.search(r"trade_type|^feeds", block.text, re.MULTILINE):
                continue
            loaded += 1
            home = tmp_path / str(loaded)
            home.mkdir()
            (home / name).write_text(block.text, encoding="utf-8")
            assert load_settings(home, {}, {}).feeds
    assert loaded >= 2


def test_python_in_the_pages_compiles() -> None:
    """Examples are at least the language they claim to be."""
    for page in PAGES:
        for block in blocks(page):
            if block.language == "python":
                compile(block.text, str(page), "exec", flags=0x2000)  # top-level await


def test_every_option_and_command_is_documented() -> None:
    """The README's table has every setting, and some page names every verb."""
    readme = (ROOT / "README.md").read_text("utf-8")
    everything = "".join(page.read_text("utf-8") for page in PAGES)
    assert [name for name in OPTIONS if name != "clock_rate" and f"`{name}`" not in readme] == []
    assert [verb for verb in VERBS if f"bmacdb {verb}" not in everything] == []


def test_links_lead_somewhere() -> None:
    """A link to a page or file of this repository finds it."""
    lost = []
    others = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs" / "decisions").glob("*.md")]
    for page in [*PAGES, *others]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                lost.append(f"{page.name}: {target}")
    assert lost == []


def test_every_page_is_in_the_index() -> None:
    """docs/index.md names each page of docs/."""
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    missing = [page.name for page in PAGES if page.parent.name == "docs" and page.name not in ("index.md",)]
    assert [name for name in missing if name not in index] == []
