import json

import pytest

from tests.bench.report import Result, Series, Target, as_json, as_table, median_ratio, percentile


def test_a_percentile_is_the_value_below_which_that_share_lies():
    values = list(range(100, 0, -1))
    assert (percentile(values, 0), percentile(values, 50), percentile(values, 99)) == (1, 51, 100)
    assert percentile(values, 100) == 100
    assert percentile([7.0], 99) == 7.0


def test_ratios_are_taken_within_a_round_and_then_the_middle_one_counts():
    """The ratio of the medians would be 2 / 40; a round that was slow for both says nothing."""
    assert median_ratio([1, 2, 300], [10, 40, 100]) == pytest.approx(0.1)


def test_a_ratio_needs_both_figures_of_each_round():
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1, 2], [1])


@pytest.mark.parametrize(
    ("value", "is_at_most", "is_met"),
    [(1.9, True, True), (2.0, True, True), (2.1, True, False), (1.9, False, False), (2.0, False, True)],
)
def test_a_target_is_met_on_its_side_of_the_limit_and_at_it(value, is_at_most, is_met):
    target = Target("ratio", value, 2.0, is_at_most)
    assert target.is_met is is_met
    assert ("MISSED" in str(target)) is not is_met


def test_the_best_is_the_highest_rate_or_the_shortest_time():
    assert Series("x", "messages/s", [1.0, 3.0, 2.0]).best == 3.0
    assert Series("x", "us", [1.0, 3.0, 2.0]).best == 1.0


def test_table_and_json_tell_the_same():
    result = Result("round trip", [Series("floor", "us", [1.0, 2.0, 4.0])], [Target("a", 1, 2), Target("b", 3, 2)])
    table = as_table([result])
    assert "floor" in table
    assert "1 of 2 targets met" in table
    told = json.loads(as_json([result], {"cpus": 2}))
    assert told["machine"] == {"cpus": 2}
    assert told["results"][0]["series"][0]["median"] == 2.0
    assert [target["is_met"] for target in told["results"][0]["targets"]] == [True, False]
