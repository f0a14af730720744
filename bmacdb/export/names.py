"""The predecessor's directories and file names. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path

from bmacdb.clock import from_ms
from bmacdb.model import EXGINFO_ITEM, FUNDING_ITEM, Feed

__all__ = ["EXTENSIONS", "READY_ZONE", "BmacNames", "names_for"]

EXTENSIONS = {"parquet": "pqt", "feather": "fea"}

READY_ZONE = timezone(timedelta(hours=8))
"""Of the run times in the names of ready files, and in the funding file."""


@dataclass(frozen=True, slots=True)
class BmacNames:
    """Where the files of one feed lie under `root`; `save_type` is parquet or feather."""

    root: Path
    feed: Feed
    save_type: str = "parquet"

    @property
    def candle_dir(self) -> Path:
        """`usdt_perp_5m`: trade type and interval, by the name that was asked for (`usdt_swap_5m`)."""
        return self.root / f"{_trade_type(self.feed)}_{self.feed.name.rpartition('_')[2]}"

    @property
    def exginfo_dir(self) -> Path:
        """`exginfo_5m`, which holds the funding rates too."""
        return self.root / f"exginfo_{self.feed.name.rpartition('_')[2]}"

    def folder(self, item: str) -> Path:
        """Where the files of an item lie: a symbol, `exginfo` or `funding`."""
        return self.exginfo_dir if item in (EXGINFO_ITEM, FUNDING_ITEM) else self.candle_dir

    def data_file(self, item: str) -> Path:
        """`usdt_perp_5m/BTCUSDT.pqt`, `exginfo_5m/exginfo.pqt`, `exginfo_5m/funding.pqt`."""
        return self.folder(item) / f"{item}.{EXTENSIONS[self.save_type]}"

    def ready_file(self, item: str, run_time_ms: int) -> Path:
        """`usdt_perp_5m/BTCUSDT_20240803_125200.ready`: the run time in UTC+8."""
        return self.folder(item) / f"{item}_{from_ms(run_time_ms).astimezone(READY_ZONE):%Y%m%d_%H%M%S}.ready"


def _trade_type(feed: Feed) -> str:
    return feed.alias or feed.trade_type


def names_for(root: Path, feeds: Collection[Feed], save_type: str = "parquet") -> dict[str, BmacNames]:
    """The places of several feeds, by name.

    The directory of exchange info is named by the interval alone, so feeds that share one get a directory each, named
    after their trade type, as the predecessor needs one for each configuration.
    """
    intervals = [feed.interval.name for feed in feeds]
    return {
        feed.name: BmacNames(
            root / _trade_type(feed) if intervals.count(feed.interval.name) > 1 else root, feed, save_type
        )
        for feed in feeds
    }
