"""Who arrives when: the plan of a simulated morning. Pure: the same plan gives the same arrivals.

People come one by one at random moments, few at first, most around the start of work, then fewer again. In bursts they
come in groups, as from a bus. Some hold their card up twice, and some readers send a mark twice.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator

import msgspec

PEAK_AT = 0.4  # of the whole time
PEAK_WIDTH = 0.12
QUIET_SHARE = 0.4  # of all arrivals, spread evenly
BURST_SIZE = 12
BURST_GAP_S = 0.05
REPEAT_AFTER_S = (0.3, 3.0)
_PEAK = 1 / (PEAK_WIDTH * math.sqrt(2 * math.pi))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`rate_per_s` is the mean over the whole time, duplicates (a share below 1) included."""

    rate_per_s: float
    people: int
    duration_s: float
    duplicates: float = 0.0
    is_burst: bool = False
    seed: int = 0


class Arrival(msgspec.Struct, frozen=True, order=True):
    """One mark to send, `at_s` after the beginning. Those of one `number` are the same mark, sent again."""

    at_s: float
    number: int
    person: str
    is_repeat: bool = False
    """Another one of this mark or person was before."""


def intensity(at: float) -> float:
    """Return how many arrive around `at` (0 to 1 of the time) compared with the mean."""
    distance = (at - PEAK_AT) / PEAK_WIDTH
    return QUIET_SHARE + (1 - QUIET_SHARE) * _PEAK * math.exp(-distance * distance / 2)


def arrivals(plan: Plan) -> Iterator[Arrival]:
    """Yield the arrivals of a plan in the order of their times."""
    chance = random.Random(plan.seed)  # noqa: S311 - nothing secret is made of it
    people = _people(plan.people, chance)
    waiting: list[Arrival] = []  # a heap of what comes later: the rest of a group, repetitions
    number = 0
    for start_s in _moments(plan, chance):
        yield from _due(waiting, start_s)
        at_s = start_s
        for _ in range(_group_size(plan, chance)):
            number += 1
            first = Arrival(at_s, number, next(people))
            heapq.heappush(waiting, first)
            for _ in range(_repeats(plan.duplicates, chance)):
                number += 1
                heapq.heappush(waiting, _repeat(first, number, plan, chance))
            at_s = min(plan.duration_s, at_s + chance.expovariate(1 / BURST_GAP_S))
    yield from _due(waiting, math.inf)


def _moments(plan: Plan, chance: random.Random) -> Iterator[float]:
    """Yield when somebody comes, alone or with a group: a Poisson process, thinned to the shape of the morning."""
    group = BURST_SIZE if plan.is_burst else 1
    peak = intensity(PEAK_AT)
    rate_per_s = plan.rate_per_s * (1 - plan.duplicates) / group * peak
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(rate_per_s)) < plan.duration_s:
        if chance.random() * peak < intensity(at_s / plan.duration_s):
            yield at_s


def _due(waiting: list[Arrival], now_s: float) -> Iterator[Arrival]:
    while waiting and waiting[0].at_s <= now_s:
        yield heapq.heappop(waiting)


def _group_size(plan: Plan, chance: random.Random) -> int:
    return chance.randint(1, 2 * BURST_SIZE - 1) if plan.is_burst else 1


def _repeats(share: float, chance: random.Random) -> int:
    """Return how often a mark is repeated, such that `share` of all marks are repetitions."""
    whole, rest = divmod(share / (1 - share), 1)
    return int(whole) + (chance.random() < rest)


def _repeat(first: Arrival, number: int, plan: Plan, chance: random.Random) -> Arrival:
    at_s = min(plan.duration_s, first.at_s + chance.uniform(*REPEAT_AFTER_S))
    is_sent_again = chance.random() < 0.5  # else the person has held up the card twice, which is another mark
    return Arrival(at_s, first.number if is_sent_again else number, first.person, True)


def _people(count: int, chance: random.Random) -> Iterator[str]:
    """Yield everybody once in a random order, then in each further round others as many: nobody comes twice unplanned.

    A second mark of a person within the server's cool-down would be a duplicate that nobody has planned.
    """
    ids = [f"P{number:04d}" for number in range(1, count + 1)]
    chance.shuffle(ids)
    yield from ids
    further = 1
    while True:
        further += 1
        chance.shuffle(ids)
        yield from (f"{person}-{further}" for person in ids)
