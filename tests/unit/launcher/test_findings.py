"""What a check has found."""

from __future__ import annotations

from launcher.findings import Findings, Result, collect, ok, one_line, problem


def test_a_check_that_fails_is_a_finding_beside_what_it_had_found() -> None:
    def check() -> Findings:
        yield ok("disk", "fine")
        raise ValueError("as ordered")

    fine, failed = collect("disk", check)

    assert fine == ok("disk", "fine")
    assert (failed.topic, failed.result, failed.detail) == (
        "disk",
        Result.WARNING,
        "cannot be checked: ValueError: as ordered",
    )


def test_findings_are_passed_on_in_order() -> None:
    def check() -> Findings:
        yield problem("a", "b", "c")
        yield ok("a", "d")

    assert [finding.detail for finding in collect("a", check)] == ["b", "d"]


def test_words_of_others_are_one_line() -> None:
    assert one_line("a\n  b\tc\n") == "a b c"
