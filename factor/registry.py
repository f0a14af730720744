"""Which factor a name stands for: the user's package first, then the bundled library."""

from __future__ import annotations

import importlib
import importlib.util
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from bmacdb.errors import UsageError
from bmacdb.factor.call import Call, check_identifier, parse_call, spell
from bmacdb.factor.evaluate import understood
from bmacdb.factor.lists import check_lists
from bmacdb.factor.module import Failure, PythonCall, PythonFactor
from bmacdb.factor.template import Bound, Template, parse_template

__all__ = ["BUNDLED", "Library", "Plan", "choose"]

BUNDLED = Path(__file__).parent
"""The directory of the bundled factors."""


@dataclass(slots=True)
class Plan:
    """What has to be computed for a request. Columns of hidden calls are needed by others, and not shown."""

    calls: tuple[Call, ...]
    sql: list[Bound] = field(default_factory=list)
    crosses: list[tuple[Bound, Call]] = field(default_factory=list)
    python: list[PythonCall] = field(default_factory=list)
    sections: list[tuple[PythonCall, tuple[Call, ...]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns asked for, in their order."""
        return [call.column for call in self.calls]


@cache
def _bundled() -> dict[str, Template]:
    return {
        path.stem: parse_template(path.stem, path.read_text(encoding="utf-8")) for path in sorted(BUNDLED.glob("*.sql"))
    }


class Library:
    """The factors of `package`, beside the user's own code, and behind them the bundled ones.

    `python` asks for the Python form of bundled factors that have both.
    """

    def __init__(self, package: str = "factor", *, python: bool = False) -> None:
        for part in package.split("."):
            check_identifier(part, "factor package")
        self.package = package
        self._python = python
        self._folders = _folders(package)
        self._found: dict[str, Template | PythonFactor] = {}

    def bundled(self) -> dict[str, Template]:
        """The bundled factors by name."""
        return dict(_bundled())

    def names(self) -> list[str]:
        """Every name that can be asked for, the user's own included, in order."""
        own = {
            path.stem
            for folder in self._folders
            for path in folder.iterdir()
            if path.suffix in (".py", ".sql") and not path.stem.startswith("_")
        }
        return sorted(own | set(_bundled()))

    def own(self) -> list[str]:
        """The names of the user's package."""
        return sorted(
            {
                path.stem
                for folder in self._folders
                for path in folder.glob("*.*")
                if path.suffix in (".py", ".sql") and not path.stem.startswith("_")
            }
        )

    def find(self, name: str) -> Template | PythonFactor:
        """The factor called `name`. Raises UsageError with the nearest names; whatever the user's module raises."""
        check_identifier(name, "factor name")
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Template | PythonFactor:
        for folder in self._folders:
            if (folder / f"{name}.sql").is_file():
                return parse_template(name, (folder / f"{name}.sql").read_text(encoding="utf-8"))
            if (folder / f"{name}.py").is_file():
                return PythonFactor.of(name, importlib.import_module(f"{self.package}.{name}"))
        template = _bundled().get(name)
        if template is None:
            lower = {known.lower(): known for known in self.names()}
            near = [lower[match] for match in get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            where = f"package {self.package!r} nor in the library" if self._folders else "the library"
            raise UsageError(f"there is no factor {name!r} in {where}.{hint} `bmacdb factors --list` shows all.")
        if self._python and (BUNDLED / f"{name}.py").is_file():
            return self.python_form(template)
        return template

    def python_form(self, template: Template) -> PythonFactor:
        """The Python form of a bundled factor, with the look-back and the nulls of the SQL form."""
        return PythonFactor.of(template.name, importlib.import_module(f"bmacdb.factor.{template.name}"), template)

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
        bound = factor.bind(call)
        if bound.of is None:
            plan.sql.append(choose(bound))
            return
        inner = self.find(bound.of.name)
        if isinstance(inner, PythonFactor) or inner.cross:
            raise UsageError(
                f"factor {spell(call)}: {bound.of.name} cannot be compared across the market in SQL, as it is "
                f"{'a Python module' if isinstance(inner, PythonFactor) else 'across the market itself'}. "
                "Write a module with is_cross = True and get_factor_list(n)."
            )
        self._add(plan, bound.of, (*above, call.name))
        plan.crosses.append((bound, bound.of))

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
        for need in needs:
            if isinstance(found := self.find(need.name), PythonFactor) and found.is_cross:
                raise UsageError(f"factor {spell(call)}: {need.name} is across the market itself.")
            self._add(plan, need, (*above, call.name))
        plan.sections.append((bound, needs))


def choose(bound: Bound) -> Bound:
    """With the way that it is computed: on the grid, or by DuckDB over lists where the grid does not understand it.

    The choice depends on the expression alone, so that a value is computed live as in research. Raises UsageError where
    neither can do it.
    """
    if understood(bound):
        return bound
    check_lists(bound)
    return replace(bound, listed=True)


def _planned(plan: Plan) -> set[Call]:
    return {
        *(bound.call for bound in plan.sql),
        *(bound.call for bound, _ in plan.crosses),
        *(call.call for call in plan.python),
        *(call.call for call, _ in plan.sections),
        *(failure.call for failure in plan.failures),
    }


def _folders(package: str) -> Sequence[Path]:
    """Where the user's package lies; nothing when there is none, or when it is the bundled one."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    return [Path(place) for place in places if Path(place).is_dir() and not Path(place).samefile(BUNDLED)]
