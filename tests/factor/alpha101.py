"""The formulas of *101 Formulaic Alphas* as the paper prints them, evaluated by pandas and numpy alone.

An implementation of its own: it parses the paper's text and shares nothing with the engine. A frame is (bars, symbols),
NaN is missing. Rules: fractional days are rounded down (the paper); `adv20` is the mean volume and `ts_rank` a rank
above 0 to 1 (common implementations); a value that is not finite is missing; correlations and covariances are rounded
to 8 digits; missing values are skipped, but by `decay_linear`, which needs its whole window.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Market"]

Frame = pd.DataFrame
Array = npt.NDArray[np.float64]


def finite(frame: Frame) -> Frame:
    return frame.where(np.isfinite(frame))


def windows(frame: Frame, days: float) -> Array:
    """(bars, symbols, days), NaN before the first bar."""
    length = int(days)
    values = finite(frame).to_numpy(np.float64)
    padded = np.vstack([np.full((length - 1, values.shape[1]), np.nan), values])
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)


def framed(frame: Frame, values: Array) -> Frame:
    return finite(pd.DataFrame(values, index=frame.index, columns=frame.columns))


def over(function: Callable[[Array], Array]) -> Callable[[Frame, float], Frame]:
    """The function over the last axis of the windows; missing where a window has no value."""

    def apply(frame: Frame, days: float) -> Frame:
        window = windows(frame, days)
        return framed(frame, np.where(np.isnan(window).all(axis=-1), np.nan, function(window)))

    return apply


def blunt(values: Array) -> Array:
    """To 12 significant digits: what differs by rounding alone ranks as equal."""
    with np.errstate(all="ignore"):
        size = 10.0 ** (11 - np.floor(np.log10(np.abs(values))))
    return np.where(np.abs(values) < 1e-14, 0.0, np.round(values * size) / size)


def together(x: Frame, y: Frame, days: float, *, correlate: bool) -> Frame:
    both = finite(x).notna() & finite(y).notna()
    a, b = windows(x.where(both), days), windows(y.where(both), days)
    pairs = (~np.isnan(a)).sum(axis=-1)
    away_a, away_b = (w - np.nanmean(w, axis=-1, keepdims=True) for w in (a, b))
    product = np.nansum(away_a * away_b, axis=-1)
    if correlate:
        flat = (np.nanmax(a, axis=-1) == np.nanmin(a, axis=-1)) | (np.nanmax(b, axis=-1) == np.nanmin(b, axis=-1))
        spread = np.sqrt(np.nansum(away_a**2, axis=-1) * np.nansum(away_b**2, axis=-1))
        value = np.where(flat, np.nan, product / spread)
    else:
        value = product / (pairs - 1)
    return framed(x, np.round(np.where(pairs > 1, value, np.nan), 8))


def deviation(window: Array) -> Array:
    flat = (np.nanmax(window, axis=-1) == np.nanmin(window, axis=-1)) & ((~np.isnan(window)).sum(axis=-1) > 1)
    return np.where(flat, 0.0, np.nanstd(window, axis=-1, ddof=1))


def rank_of_last(window: Array) -> Array:
    window = blunt(window)
    last = window[..., -1:]
    place = (window < last).sum(axis=-1) + ((window == last).sum(axis=-1) + 1) / 2
    return np.where(np.isnan(last[..., 0]), np.nan, place / window.shape[-1])


def decayed(window: Array) -> Array:
    weights = np.arange(1, window.shape[-1] + 1)
    return (window * weights).sum(axis=-1) / weights.sum()


def extreme(fold: Callable[[Frame, float], Frame], pick: Callable[[Array, Array], Array]) -> Callable[..., Frame]:
    """`min` and `max` of the paper: of a frame and a number of days, or of two frames."""

    def apply(x: Frame, y: Frame | float) -> Frame:
        return framed(x, pick(x.to_numpy(), y.to_numpy())) if isinstance(y, pd.DataFrame) else fold(x, y)

    return apply


def where(condition: Frame, yes: Frame | float, no: Frame | float) -> Frame:
    chosen = [np.asarray(value, dtype=np.float64) for value in (yes, no)]
    return framed(condition, np.where(condition.to_numpy() == 1, *chosen))


def compare(x: Frame | float, y: Frame | float, test: Callable[[Any, Any], Any]) -> Frame:
    frame = x if isinstance(x, pd.DataFrame) else y
    a, b = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    return framed(frame, np.where(np.isnan(a) | np.isnan(b), np.nan, test(a, b)))


def scale(x: Frame) -> Frame:
    return finite(x.div(finite(x).abs().sum(axis=1), axis=0))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "rank": lambda x: framed(x, blunt(x.to_numpy(np.float64))).rank(axis=1, method="min", pct=True),
    "scale": scale,
    "delay": lambda x, days: x.shift(int(days)),
    "delta": lambda x, days: x - x.shift(int(days)),
    "correlation": lambda x, y, days: together(x, y, days, correlate=True),
    "covariance": lambda x, y, days: together(x, y, days, correlate=False),
    "sum": over(lambda window: np.nansum(window, axis=-1)),
    "product": over(lambda window: np.nanprod(window, axis=-1)),
    "stddev": over(deviation),
    "ts_min": over(lambda window: np.nanmin(window, axis=-1)),
    "ts_max": over(lambda window: np.nanmax(window, axis=-1)),
    "ts_argmin": over(lambda window: np.argmin(np.where(np.isnan(window), np.inf, window), axis=-1) + 1.0),
    "ts_argmax": over(lambda window: np.argmax(np.where(np.isnan(window), -np.inf, window), axis=-1) + 1.0),
    "ts_rank": over(rank_of_last),
    "decay_linear": over(decayed),
    "min": extreme(over(lambda window: np.nanmin(window, axis=-1)), np.fmin),
    "max": extreme(over(lambda window: np.nanmax(window, axis=-1)), np.fmax),
    "signedpower": lambda x, a: framed(x, np.sign(x.to_numpy()) * np.abs(x.to_numpy()) ** np.asarray(a)),
    "log": lambda x: np.log(x.where(x > 0)),
    "abs": abs,
    "sign": np.sign,
    "where": where,
}

OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda x, y: x + y,
    ast.Sub: lambda x, y: x - y,
    ast.Mult: lambda x, y: x * y,
    ast.Div: lambda x, y: finite(x / y) if isinstance(x / y, pd.DataFrame) else x / y,
    ast.Pow: lambda x, y: (x**y).where(y.notna()) if isinstance(y, pd.DataFrame) else x**y,
    ast.BitOr: lambda x, y: ((x == 1) | (y == 1)).astype(np.float64),
    ast.Lt: lambda x, y: compare(x, y, np.less),
    ast.Eq: lambda x, y: compare(x, y, np.equal),
}


def python(formula: str) -> str:
    """The paper's text as a Python expression: `(c ? a : b)` becomes `(where(c, a, b))`, innermost first."""
    depth, start, parts = 0, 0, []  # of this level: pieces in parentheses are turned first
    for place, sign in enumerate(formula):
        if sign == "(":
            depth += 1
            if depth == 1:
                parts.append(formula[start:place])
                start = place + 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                parts.append(f"({python(formula[start:place])})")
                start = place + 1
    text = "".join([*parts, formula[start:]])
    outer = "".join(
        sign if level == 0 else "_" for sign, level in zip(text, _depths(text), strict=True)
    )  # as long as the text, without what is inside parentheses
    if "?" not in outer:
        return text
    question, colon = outer.index("?"), outer.index(":")
    return f"where({text[:question]}, {text[question + 1 : colon]}, {text[colon + 1 :]})"


def _depths(text: str) -> list[int]:
    depth, found = 0, []
    for sign in text:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        found.append(depth)
    return found


class Market:
    """Candle columns by name, each (bars, symbols)."""

    def __init__(self, columns: Mapping[str, Frame]) -> None:
        close = columns["close"]
        self._inputs = {name: columns[name] for name in ("open", "high", "low", "close", "volume")}
        self._inputs["vwap"] = finite(columns["quote_volume"] / columns["volume"])
        self._inputs["returns"] = finite(close / close.shift(1) - 1)

    def value(self, formula: str) -> Frame:
        """The formula at every bar and symbol."""
        text = python(formula).replace("^", "**").replace("||", "|")
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)  # windows without a value
            return finite(self._value(ast.parse(text, mode="eval").body))

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._input(name)
            case ast.UnaryOp(operand=operand):
                return -self._value(operand)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                values = [self._value(argument) for argument in arguments]
                if name in ("rank", "scale"):  # among the symbols that have a candle at the bar
                    values[0] = values[0].where(self._inputs["close"].notna())
                return FUNCTIONS[name.lower()](*values)
            case ast.BinOp(left=left, right=right, op=operator):
                return OPERATORS[type(operator)](self._value(left), self._value(right))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return OPERATORS[type(operator)](self._value(left), self._value(right))
        raise ValueError(f"not in the paper's language: {ast.dump(node)}")

    def _input(self, name: str) -> Frame:
        if name.startswith("adv"):
            return over(lambda window: np.nanmean(window, axis=-1))(self._inputs["volume"], int(name[3:]))
        return self._inputs[name]
