"""Factors as Python modules, with the community's signatures.

signal(*args)                      args = (df, n, factor_name): assigns df[factor_name], returns df
signal(df, n, diff_num, name)      the neutral framework's older form; diff_num is 0
signal_multi_params(df, params)    -> {str(param): Series}; used in preference where it is there
get_factor_list(n) in sections/    or with is_cross = True: signal gets one frame of all symbols
LOOKBACK = 100 or lambda n: n + 1  candles it looks back, the newest included; num_candles without it
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from bmacdb.errors import UsageError
from bmacdb.factors.call import Call, spell

__all__ = ["Failure", "PythonCall", "PythonFactor", "grouped"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A factor that raised: the symbol it was first seen at (None: at import), and the traceback."""

    call: Call
    symbol: str | None
    traceback: str

    def __str__(self) -> str:
        at = f" at {self.symbol}" if self.symbol else ""
        return f"factor {spell(self.call)} failed{at}; its column is null.\n{self.traceback.rstrip()}"


@dataclass(frozen=True, slots=True)
class PythonFactor:
    """A module that computes a factor.

    `windowed`: a row's value is a function of its look-back alone, to the last bit, so that one pass over a long frame
    gives what a frame per run time would. `arguments`: signal takes 3 (df, n, factor_name), 4 (df, n, diff_num,
    factor_name), or 1, which is a tuple of the four.
    """

    name: str
    module: ModuleType
    is_cross: bool
    windowed: bool
    arguments: int = 3

    def __reduce__(self) -> tuple[Callable[..., PythonFactor], tuple[object, ...]]:
        """By the name of its module, which is imported where it arrives; all else is bound already."""
        return _arrived, (self.name, self.module.__name__, self.is_cross, self.windowed, self.arguments)

    @classmethod
    def of(cls, name: str, module: ModuleType, *, section: bool = False) -> PythonFactor:
        """The factor of a module; `section`: its directory says that it is across the market.

        Raises UsageError when it has no signal, or wants data there is none of.
        """
        if not callable(getattr(module, "signal", None)) and not callable(getattr(module, "signal_multi_params", None)):
            raise UsageError(
                f"factor {name}: {getattr(module, '__file__', name)} has neither signal(*args) nor "
                "signal_multi_params(df, param_list)."
            )
        if wants := getattr(module, "extra_data_dict", None):
            raise UsageError(
                f"factor {name}: it asks for extra data ({', '.join(map(str, wants))}), which the record has not. "
                "Read that data in the module itself, and leave extra_data_dict out."
            )
        across = section or bool(getattr(module, "is_cross", False))
        if across and not callable(getattr(module, "get_factor_list", None)):
            why = f"it lies in {module.__name__.rpartition('.')[0]}, and" if section else "is_cross = True"
            raise UsageError(f"factor {name}: {why} needs get_factor_list(n), the factors it compares.")
        return cls(name, module, across, bool(getattr(module, "WINDOWED", False)), _arguments(module))

    def bind(self, call: Call) -> PythonCall:
        """This factor with a parameter. Raises UsageError for a look-back that is no positive number of candles."""
        lookback: object = getattr(self.module, "LOOKBACK", None)
        if lookback is None and self.is_cross and _compares_one_run_time(self.module):
            lookback = 1
        if callable(lookback):
            lookback = lookback(call.param)
        if lookback is not None and (isinstance(lookback, bool) or not isinstance(lookback, int) or lookback < 1):
            raise UsageError(f"factor {spell(call)}: LOOKBACK is {lookback!r}; it must be 1 candle or more.")
        return PythonCall(call, self, lookback)

    @property
    def funding(self) -> bool:
        """Whether its text names the column fundingRate, which is only read where it is."""
        try:
            return "fundingRate" in inspect.getsource(self.module)
        except (OSError, TypeError):
            return True

    def needs(self, call: Call) -> Iterable[Sequence[object]]:
        """What a factor across the market compares, as the module says."""
        found: Iterable[Sequence[object]] = self.module.get_factor_list(call.given)
        return found


def _arrived(name: str, module: str, is_cross: bool, windowed: bool, arguments: int) -> PythonFactor:
    return PythonFactor(name, importlib.import_module(module), is_cross, windowed, arguments)


@dataclass(frozen=True, slots=True)
class PythonCall:
    """A Python factor with its parameter. `lookback` None: the window of num_candles."""

    call: Call
    factor: PythonFactor
    lookback: int | None

    @property
    def param(self) -> object:
        """What the module is given: a list is a list again, and a new one each time."""
        return self.call.given


def grouped(failures: Iterable[Failure]) -> Mapping[Call, Failure]:
    """The first failure of each factor: a traceback is told once."""
    first: dict[Call, Failure] = {}
    for failure in failures:
        first.setdefault(failure.call, failure)
    return first


def _arguments(module: ModuleType) -> int:
    """How many arguments signal takes, by its parameters and by what it does with `*args`."""
    signal = getattr(module, "signal", None)
    try:
        parameters = list(inspect.signature(signal).parameters.values()) if signal is not None else []
    except (TypeError, ValueError):
        return 3
    needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if rest is None:
        return len(needed) if len(needed) in (1, 4) else 3
    function = _function(module, "signal")
    read = _read(function, rest) if function is not None else 0
    return 4 if len(needed) + read == 4 else 3


def _function(module: ModuleType, name: str) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return None
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return next(functions, None)


def _read(function: ast.FunctionDef, args: str) -> int:
    """How many of `args` are read: `args[3]` is four, and so is `a, b, c, d = args`."""
    most = 0
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=int(at))) if name == args:
                most = max(most, at + 1)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Name(id=name)) if name == args:
                most = max(most, len(names))
            case ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=name)]) if name == args:
                return 0  # it looks whether there are more
    return most


_ELEMENTWISE = re.compile(
    "abs|astype|clip|copy|drop|fillna|isna|isnull|mask|notna|notnull|replace|where"
    "|log|log1p|exp|sqrt|sign|maximum|minimum|isnan|isfinite|tanh"
)
_OF_GROUPS = re.compile("rank|mean|std|var|sum|min|max|median|count|quantile|size|nunique|skew")


def _compares_one_run_time(module: ModuleType) -> bool:
    """Whether its signal surely compares the symbols of each run time, and nothing over time.

    All it may call is what acts on each value alone, and what acts on groups of one candle_begin_time.
    """
    function = _function(module, "signal")
    return function is not None and all(
        _of_one_run_time(node) for node in ast.walk(function) if isinstance(node, ast.Call | ast.Subscript | ast.For)
    )


def _of_one_run_time(node: ast.AST) -> bool:
    match node:
        case ast.Subscript(slice=index):
            # A column or several; not rows by their place.
            return not isinstance(index, ast.Slice) or isinstance(node.value, ast.Name)
        case ast.Call(func=ast.Name(id=name)):
            return name in ("int", "float", "str", "abs")
        case ast.Call(func=ast.Attribute(attr="groupby")):
            return _by_time(node)
        case ast.Call(func=ast.Attribute(attr="transform", value=of), args=[ast.Constant(value=name)]):
            return bool(_OF_GROUPS.fullmatch(str(name))) and _grouped(of)
        case ast.Call(func=ast.Attribute(attr=name, value=of)):
            alone = _ELEMENTWISE.fullmatch(name) and not _filled(node)
            return bool(alone or (_OF_GROUPS.fullmatch(name) and _grouped(of)))
    return False


def _by_time(node: ast.Call) -> bool:
    by = node.args[:1] or [keyword.value for keyword in node.keywords if keyword.arg == "by"]
    return len(by) == 1 and isinstance(by[0], ast.Constant) and by[0].value == "candle_begin_time"


def _grouped(node: ast.AST) -> bool:
    """Whether it is groups: `df.groupby(…)["x"]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "groupby"


def _filled(node: ast.Call) -> bool:
    """fillna(method="ffill") takes the value of the row before."""
    return any(keyword.arg == "method" for keyword in node.keywords)
