"""Downloads from the stand-in's archive, over HTTP."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bmacdb.archive.client import ArchiveUrls
from bmacdb.archive.download import Outcome, list_symbols
from bmacdb.archive.layout import Kind
from bmacdb.archive.mirror import Mirror, Verdict
from bmacdb.errors import UsageError
from bmacdb.model import Market

from .support import FEBRUARY_MS, PERP, SPOT, scene


async def test_the_archive_is_listed_page_by_page_with_what_trades_no_more(tmp_path: Path) -> None:
    """Months, then the days of the month that is not over; symbols that were delisted among them."""
    async with scene(tmp_path) as here:
        here.exchange.archive.page_rows = 25
        names = await list_symbols(here.client, Market.USDT_FUTURES)
        assert {"BTCUSDT", "GONEUSDT", "币安人生USDT"} <= set(names)
        files = await here.listed(PERP, "BTCUSDT", "币安人生USDT")
    assert [(one.file.symbol, one.file.cadence) for one in files[:2]] == [
        ("BTCUSDT", "monthly"),
        ("币安人生USDT", "monthly"),
    ]
    days = [one.file.start_ms for one in files if one.file.symbol == "BTCUSDT" and one.file.cadence == "daily"]
    assert days[0] == FEBRUARY_MS
    assert len(days) == 9, "the tenth is not over"


async def test_a_mirror_is_filled_once(tmp_path: Path) -> None:
    """In the archive's own layout, checked, with nothing left over; the second time nothing is fetched."""
    async with scene(tmp_path) as here:
        fetched = await here.fetch(SPOT, "BTCUSDT", "ETHUSDT")
        assert {one.outcome for one in fetched} == {Outcome.NEW}
        key = fetched[0].wanted.entry.key
        assert zipfile.is_zipfile(here.mirror.path(key))
        assert here.mirror.path(key + ".CHECKSUM").read_text().endswith(f"  {Path(key).name}\n")
        assert list((tmp_path / "archive").rglob("*.part")) == []
        before = len(here.exchange.archive.requests)
        again = await here.fetch(SPOT, "BTCUSDT", "ETHUSDT")
        assert {one.outcome for one in again} == {Outcome.HAVE}
        asked = here.exchange.archive.requests[before:]
    assert [path for path, _ in asked if ".zip" in path] == []


async def test_a_file_replaced_at_the_source_is_fetched_again(tmp_path: Path) -> None:
    """The manifest knows what was fetched."""
    async with scene(tmp_path) as here:
        (first, *_) = await here.fetch(SPOT, "BTCUSDT")
        key = first.wanted.entry.key
        here.exchange.archive.replaced[key] = 1
        again = await here.fetch(SPOT, "BTCUSDT")
        assert [one.wanted.entry.key for one in again if one.outcome is Outcome.REPLACED] == [key]
        assert here.mirror.path(key).read_bytes() == here.exchange.archive.content(key)


async def test_a_wrong_checksum_puts_a_file_aside(tmp_path: Path) -> None:
    """It is said, not fetched again, and accepted by force; or by a checksum that was mended."""
    async with scene(tmp_path) as here:
        key, other = (one.entry.key for one in (await here.listed(SPOT, "BTCUSDT"))[:2])
        here.exchange.archive.wrong_checksums |= {key, other}
        fetched = {one.wanted.entry.key: one for one in await here.fetch(SPOT, "BTCUSDT")}
        assert fetched[key].outcome is Outcome.QUARANTINED
        assert "--force" in fetched[key].problem
        assert not here.mirror.path(key).exists()
        assert here.mirror.quarantine(key).exists()
        assert sum(one.outcome is Outcome.NEW for one in fetched.values()) == len(fetched) - 2, "the rest went on"

        before = len(here.exchange.archive.requests)
        assert (await here.fetch(SPOT, "BTCUSDT"))[0].outcome is Outcome.QUARANTINED
        assert (key, "") not in here.exchange.archive.requests[before:]

        here.exchange.archive.wrong_checksums.discard(other)
        assert (await here.fetch(SPOT, "BTCUSDT"))[1].outcome is Outcome.NEW
        assert (await here.fetch(SPOT, "BTCUSDT", force=True))[0].outcome is Outcome.NEW
        kept = here.mirror.kept(key)
        assert kept is not None
        assert kept.verdict is Verdict.FORCED
        assert here.mirror.path(key).exists()
        assert not here.mirror.quarantine(key).exists()


async def test_a_broken_download_goes_on_where_it_broke(tmp_path: Path) -> None:
    """Within a run, and in the next one after a kill."""
    async with scene(tmp_path) as here:
        (first, second, *_) = await here.listed(SPOT, "BTCUSDT")
        key = first.entry.key
        here.exchange.archive.breaks[key] = 1000
        part = here.mirror.part(second.entry)
        here.mirror.make_room(part)
        part.write_bytes(here.exchange.archive.content(second.entry.key)[:500])
        fetched = await here.fetch(SPOT, "BTCUSDT")
        assert {one.outcome for one in fetched} == {Outcome.NEW}
        ranges = {path: asked for path, asked in here.exchange.archive.requests if asked}
        assert ranges[second.entry.key] == "bytes=500-"
        assert key in ranges
        for one in (first, second):
            assert here.mirror.path(one.entry.key).read_bytes() == here.exchange.archive.content(one.entry.key)


async def test_a_part_of_no_use_does_no_harm(tmp_path: Path) -> None:
    """Garbage of a run before is found out by the checksum, and fetched anew; so is a part that is too long."""
    async with scene(tmp_path) as here:
        (first, second, *_) = await here.listed(SPOT, "BTCUSDT")
        for one, garbage in ((first, b"x" * 100), (second, b"x" * 10_000_000)):
            part = here.mirror.part(one.entry)
            here.mirror.make_room(part)
            part.write_bytes(garbage)
        fetched = await here.fetch(SPOT, "BTCUSDT")
        assert {one.outcome for one in fetched} == {Outcome.NEW}


async def test_a_file_that_cannot_be_had_stops_no_other(tmp_path: Path) -> None:
    """It is an outcome, with its reason."""
    async with scene(tmp_path) as here:
        files = await here.listed(SPOT, "BTCUSDT")
        here.exchange.archive.missing.add(files[0].entry.key)
        from bmacdb.archive.download import download

        fetched = await download(here.client, here.mirror, files, clock=here.clock)
    assert [one.outcome for one in fetched] == [Outcome.FAILED] + [Outcome.NEW] * (len(files) - 1)
    assert "no such file" in fetched[0].problem


async def test_a_manifest_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A kill in the middle of a line costs that line."""
    async with scene(tmp_path) as here:
        fetched = await here.fetch(SPOT, "BTCUSDT")
        manifest = tmp_path / "archive" / "manifest.jsonl"
        manifest.write_bytes(manifest.read_bytes()[:-20])
        again = await here.fetch(SPOT, "BTCUSDT")
    assert sum(one.outcome is Outcome.HAVE for one in again) == len(fetched) - 1
    assert len(list(Mirror(tmp_path / "archive").all())) == len(fetched)


async def test_funding_comes_by_the_month(tmp_path: Path) -> None:
    """On futures alone."""
    async with scene(tmp_path) as here:
        assert "BTCUSDT" in await list_symbols(here.client, Market.USDT_FUTURES, Kind.FUNDING)
        assert await list_symbols(here.client, Market.SPOT, Kind.FUNDING) == []


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://", "http://a?b=c", "http://user:pw@host"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """And no password is shown."""
    with pytest.raises(UsageError, match="--archive-url") as told:
        ArchiveUrls(url)
    assert "pw" not in str(told.value)
