"""The plan of a simulated morning."""

from collections import Counter
from itertools import pairwise

import pytest

from server_proc.arrivals import BURST_SIZE, PEAK_AT, Plan, arrivals, intensity


def plan(**changes):
    return Plan(**{"rate_per_s": 50.0, "people": 100, "duration_s": 100.0, "seed": 1, **changes})


def test_the_same_seed_has_the_same_people_come_at_the_same_moments():
    first = list(arrivals(plan(duplicates=0.1, is_burst=True)))
    assert list(arrivals(plan(duplicates=0.1, is_burst=True))) == first
    assert list(arrivals(plan(duplicates=0.1, is_burst=True, seed=2))) != first


@pytest.mark.parametrize("is_burst", [False, True])
@pytest.mark.parametrize("duplicates", [0.0, 0.05, 0.5, 0.8])
def test_rate_order_and_end_are_as_planned(is_burst, duplicates):
    found = list(arrivals(plan(is_burst=is_burst, duplicates=duplicates)))
    assert len(found) == pytest.approx(5000, rel=0.2)
    assert all(earlier.at_s <= later.at_s for earlier, later in pairwise(found))
    assert found[0].at_s >= 0
    assert found[-1].at_s <= 100
    assert sum(arrival.is_repeat for arrival in found) / len(found) == pytest.approx(duplicates, abs=0.03)


def test_most_come_around_the_peak_and_the_mean_is_one():
    assert sum(intensity(n / 1000) for n in range(1000)) / 1000 == pytest.approx(1, abs=0.01)
    tenths = Counter(int(arrival.at_s // 10) for arrival in arrivals(plan()))
    assert max(tenths, key=tenths.__getitem__) in (int(PEAK_AT * 10) - 1, int(PEAK_AT * 10))
    assert max(tenths.values()) > 3 * tenths[9] > 0


def test_in_bursts_they_come_in_groups():
    def close_together(found):
        return sum(later.at_s - earlier.at_s < 0.2 for earlier, later in pairwise(found)) / len(found)

    slow = {"rate_per_s": 1.0, "duration_s": 1000.0}
    assert close_together(list(arrivals(plan(is_burst=True, **slow)))) > 1 - 2 / BURST_SIZE
    assert close_together(list(arrivals(plan(**slow)))) < 0.5


def test_nobody_comes_twice_unplanned_and_each_round_has_everybody():
    people = [arrival.person for arrival in arrivals(plan())]
    assert len(set(people)) == len(people) > 1000
    rounds = [people[start : start + 100] for start in range(0, 1000, 100)]
    assert sorted(rounds[0])[:2] == ["P0001", "P0002"]
    assert sorted(rounds[1])[:2] == ["P0001-2", "P0002-2"]
    for number, each in enumerate(rounds[1:], 2):
        assert sorted(each) == [f"{person}-{number}" for person in sorted(rounds[0])]
    assert [person.partition("-")[0] for person in rounds[1]] != rounds[0]


def test_a_repetition_is_the_same_mark_or_the_same_person_a_little_later():
    found = list(arrivals(plan(duplicates=0.2)))
    firsts = {arrival.number: arrival for arrival in found if not arrival.is_repeat}
    repeats = [arrival for arrival in found if arrival.is_repeat]
    sent_again = [arrival for arrival in repeats if arrival.number in firsts]
    assert 0.4 < len(sent_again) / len(repeats) < 0.6
    for arrival in sent_again:
        first = firsts[arrival.number]
        assert arrival.person == first.person
        assert 0 <= arrival.at_s - first.at_s <= 3.0
    assert {arrival.person for arrival in repeats} <= {arrival.person for arrival in firsts.values()}


def test_a_plan_too_short_for_anybody_is_empty():
    assert list(arrivals(plan(duration_s=1e-9))) == []
