"""One feed of the recorder: its symbols, its state, and the producers that serve it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import aiohttp

from bmacdb.clock import Clock
from bmacdb.errors import ExchangeError, Malformed, UsageError
from bmacdb.exchange.market import MarketDesk
from bmacdb.exchange.rest import PAGE_ROWS, retrying
from bmacdb.exchange.stream import CandleListener, Listeners, Observer
from bmacdb.exchange.wire import KlineEvent
from bmacdb.interval import DAY_MS, MINUTE_MS
from bmacdb.model import Feed, GapState, Market, Segment, SymbolInfo
from bmacdb.recorder.alarm import PeriodAlarm
from bmacdb.recorder.decide import FeedState
from bmacdb.recorder.dispatch import FeedEdges
from bmacdb.recorder.events import ListenGroup, Notice, Report, Severity
from bmacdb.recorder.fetch import RestFetchers
from bmacdb.recorder.funding import FundingUpdater
from bmacdb.recorder.history import History, missing
from bmacdb.recorder.messages import CandleClosed, ExchangeInfoFetched, Message
from bmacdb.store.writer import Store
from bmacdb.symbols import TRADE_TYPES, select

__all__ = ["FeedRecorder"]
