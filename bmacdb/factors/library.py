"""Which factor a name stands for: the user's package first, then the bundled library."""

from __future__ import annotations

import importlib
import importlib.util
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from bmacdb.errors import UsageError
from bmacdb.factors.bind import Bound, bind
from bmacdb.factors.call import Call, check_identifier, check_name, parse_call, spell
from bmacdb.factors.duck import check
from bmacdb.factors.module import Failure, PythonCall, PythonFactor
from bmacdb.factors.source import Factor, parse_factor

__all__ = ["Library", "Plan", "bundled", "bundled_names"]


@dataclass(slots=True)
class Plan:
    """What has to be computed for a request. Columns of hidden calls are needed by others, and not shown.

    `sections` are modules across the market that say how far they look back; those of `whole` do not, and get the last
    num_candles bars with the columns of the plan beside them.
    """

    calls: tuple[Call, ...]
    sql: list[Bound] = field(default_factory=list)
    python: list[PythonCall] = field(default_factory=list)
    sections: list[tuple[PythonCall, tuple[Call, ...]]] = field(default_factory=list)
    whole: list[tuple[PythonCall, Plan]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns asked for, in their order."""
        return [call.column for call in self.calls]


@cache
def bundled_names() -> frozenset[str]:
    """The names of the bundled factors."""
    places = (files("bmacdb") / "factor").iterdir()
    return frozenset(place.name.removesuffix(".sql") for place in places if place.name.endswith(".sql"))


@cache
def bundled(name: str) -> Factor:
    """A bundled factor."""
    return parse_factor(name, files("bmacdb").joinpath("factor", f"{name}.sql").read_text(encoding="utf-8"))


class Library:
    """The factors of `package`, beside the user's own code, and behind them the bundled ones."""

    def __init__(self, package: str = "factor") -> None:
        for part in package.split("."):
            check_identifier(part, "factor package")
        self.package = package
        self._folders = _folders(package)
        self._sections = _sections(package, self._folders)
        self._found: dict[str, Factor | PythonFactor] = {}

    def names(self) -> list[str]:
        """Every name that can be asked for, the user's own included, in order."""
        return sorted({*self.own(), *bundled_names()})

    def own(self) -> list[str]:
        """The names of the user's package."""
        return sorted(
            {
                path.stem
                for folder in (*self._folders, *self._sections.values())
                for path in folder.glob("*.*")
                if path.suffix in (".py", ".sql") and not path.stem.startswith("_")
            }
        )

    def find(self, name: str) -> Factor | PythonFactor:
        """The factor called `name`. Raises UsageError with the nearest names; whatever the user's module raises."""
        check_name(name)
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Factor | PythonFactor:
        for folder in self._folders:
            if (folder / f"{name}.sql").is_file():
                return parse_factor(name, (folder / f"{name}.sql").read_text(encoding="utf-8"))
            if (folder / f"{name}.py").is_file():
                return PythonFactor.of(name, importlib.import_module(f"{self.package}.{name}"))
        for package, folder in self._sections.items():
            if (folder / f"{name}.py").is_file():
                return PythonFactor.of(name, importlib.import_module(f"{package}.{name}"), section=True)
        if name not in bundled_names():
            lower = {known.lower(): known for known in self.names()}
            near = [lower[match] for match in get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            where = f"package {self.package!r} nor in the library" if self._folders else "the library"
            raise UsageError(f"there is no factor {name!r} in {where}.{hint} `bmacdb factors --list` shows all.")
        return bundled(name)

    def in_sql(self, name: str) -> Factor | None:
        """The factor called `name`, where there is one in SQL: what a factor's body may call."""
        if name in bundled_names() or any((folder / f"{name}.sql").is_file() for folder in self._folders):
            found = self.find(name)
            return found if isinstance(found, Factor) else None
        return None

    def plan(self, factors: Iterable[object]) -> Plan:
        """What to compute for `factors`, each as `parse_call` takes it.

        Raises UsageError for an unknown factor, a wrong parameter or the same column twice. A module of the user's that
        fails to import is a failure of the plan and not an error: the other factors are still computed.
        """
        if isinstance(factors, str):
            factors = [factors]
        calls = tuple(map(parse_call, factors))
        if not calls:
            raise UsageError("no factor was asked for. Give one as ('PctChg', 100), or --factor PctChg:100.")
        columns = [call.column for call in calls]
        if doubled := sorted({column for column in columns if columns.count(column) > 1}):
            raise UsageError(f"factors asked for twice: {', '.join(doubled)}. Leave one of each out.")
        plan = Plan(calls)
        for call in calls:
            self._add(plan, call, ())
        return plan

    def _add(self, plan: Plan, call: Call, above: tuple[str, ...]) -> None:
        if call in _planned(plan):
            return
        if call.name in above:
            raise UsageError(f"factor {call.name} needs itself: {' -> '.join([*above, call.name])}.")
        try:
            factor = self.find(call.name)
        except UsageError:
            raise
        except Exception:  # the user's module, whatever it does at import
            plan.failures.append(Failure(call, None, traceback.format_exc(limit=-3)))
            return
        if isinstance(factor, PythonFactor):
            self._add_python(plan, factor, call, above)
            return
        for name, value in factor.values(call).items():
            inner = parse_call(value).name if factor.kind(name) == "factor" else ""
            if inner and isinstance(self.find(inner), PythonFactor):
                raise UsageError(
                    f"factor {spell(call)}: {inner} cannot be called in SQL, as it is a Python module. "
                    "Write a module with is_cross = True and get_factor_list(n)."
                )
        bound = bind(factor, call, self.in_sql)
        if call.name in self.own():  # tests do it for the library
            check(bound)
        plan.sql.append(bound)

    def _add_python(self, plan: Plan, factor: PythonFactor, call: Call, above: tuple[str, ...]) -> None:
        bound = factor.bind(call)
        if not factor.is_cross:
            plan.python.append(bound)
            return
        try:
            needs = tuple(parse_call(tuple(need)[:2]) for need in factor.needs(call))
        except UsageError:
            raise
        except Exception:
            plan.failures.append(Failure(call, None, traceback.format_exc(limit=-3)))
            return
        compared = plan if bound.lookback is not None else Plan(needs)
        for need in needs:
            if isinstance(found := self.find(need.name), PythonFactor) and found.is_cross:
                raise UsageError(f"factor {spell(call)}: {need.name} is across the market itself.")
            self._add(compared, need, (*above, call.name))
        if compared is plan:
            plan.sections.append((bound, needs))
        else:
            plan.whole.append((bound, compared))


def _planned(plan: Plan) -> set[Call]:
    return {
        *(bound.call for bound in plan.sql),
        *(call.call for call in plan.python),
        *(call.call for call, _ in plan.sections),
        *(call.call for call, _ in plan.whole),
        *(failure.call for failure in plan.failures),
    }


def _folders(package: str) -> Sequence[Path]:
    """Where the user's package lies; nothing when there is none, or when it is the bundled one."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    library = Path(str(files("bmacdb"))) / "factor"
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    return [Path(place) for place in places if Path(place).is_dir() and not Path(place).samefile(library)]


def _sections(package: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Packages of modules across the market, and where they lie: `sections` in the user's package, or beside it."""
    found = {}
    for name in (f"{package}.sections", f"{package.rpartition('.')[0]}.sections".lstrip(".")):
        for folder in _folders(name) if folders else ():
            if folder.parent in {*folders, *(own.parent for own in folders)}:
                found[name] = folder
    return found
