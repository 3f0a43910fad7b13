"""Figures, ratios and verdicts; the table and the JSON. Pure."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the value below which `percent` of `values` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median of the ratios within each round: what disturbs a round disturbs both of its figures."""
    return median(above / below for above, below in zip(numerators, denominators, strict=True))


@dataclass(frozen=True)
class Series:
    """What one contestant did in each round."""

    contestant: str
    unit: str
    rounds: list[float]

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def best(self) -> float:
        return max(self.rounds) if self.unit.endswith("/s") else min(self.rounds)


@dataclass(frozen=True)
class Target:
    """A promise: `value` is to be at most, or else at least, `limit`."""

    what: str
    value: float
    limit: float
    is_at_most: bool = True

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit if self.is_at_most else self.value >= self.limit

    def __str__(self) -> str:
        relation = "<=" if self.is_at_most else ">="
        verdict = "met" if self.is_met else "MISSED"
        return f"{self.what}: {_number(self.value)} {relation} {_number(self.limit)}  {verdict}"


@dataclass(frozen=True)
class Result:
    """What one measure has found."""

    title: str
    series: list[Series] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)


def as_table(results: list[Result]) -> str:
    lines = []
    for result in results:
        lines.append(result.title)
        for series in result.series:
            lines.append(
                f"    {series.contestant:<34}{_number(series.median):>12} {series.unit:<15}"
                f" best {_number(series.best)}, {len(series.rounds)} rounds"
            )
        lines += [f"  > {target}" for target in result.targets]
        lines.append("")
    targets = [target for result in results for target in result.targets]
    lines.append(f"{sum(target.is_met for target in targets)} of {len(targets)} targets met")
    return "\n".join(lines)


def as_json(results: list[Result], machine: dict[str, Any]) -> str:
    def described(result: Result) -> dict[str, Any]:
        return {
            "title": result.title,
            "series": [asdict(each) | {"median": each.median, "best": each.best} for each in result.series],
            "targets": [asdict(each) | {"is_met": each.is_met} for each in result.targets],
        }

    return json.dumps({"machine": machine, "results": [described(each) for each in results]}, indent=1) + "\n"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}"
