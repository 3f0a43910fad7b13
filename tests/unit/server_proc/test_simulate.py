"""What the operator types after `simulate`, and what is printed."""

import io

import pytest

from ipc.command import CommandContext, CommandError
from server_proc import cli
from server_proc.simulate import percentile_s, summary
from server_proc.simulator import Figures

CONTEXT = CommandContext(socket="/s", state_dir="/d", url_of=lambda socket: f"nonsense:{socket}")


def refusal(*arguments):
    with pytest.raises(CommandError) as caught:
        cli.simulate(list(arguments), CONTEXT)
    assert "\n" not in str(caught.value)
    return caught.value.exit_code, str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--rate", value) for value in ("0", "-1", "nan", "inf", "x", "10001")),
        *(("--people", value) for value in ("0", "-5", "1.5", "x", "9999999")),
        *(("--for", value) for value in ("0", "x", "5d", "-3s", "1e9h", "..s", "")),
        *(("--duplicates", value) for value in ("x", "-1%", "91%", "nan")),
        ("--seed", "x"),
        ("--frobnicate", "1"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(option, value):
    exit_code, line = refusal(option, value)
    assert exit_code == 2
    assert option in line


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://me:pw@127.0.0.1", "http://[::1"]
)
def test_a_wrong_url_is_named(url):
    exit_code, line = refusal("--url", url)
    assert exit_code == 2
    assert "--url" in line


def test_without_a_url_the_running_instance_is_asked():
    assert "nonsense:/s" in refusal()[1]
    assert "nonsense:/other" in refusal("--socket", "/other")[1]


def test_another_machine_needs_a_key_and_never_in_an_argument(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    exit_code, line = refusal("--url", "http://192.0.2.1:1340")
    assert exit_code == 2
    assert "--key-file" in line
    for content in ("", "two\nlines", "a b", "é"):
        (tmp_path / "key").write_text(content, encoding="utf-8")
        exit_code, line = refusal("--url", "http://192.0.2.1:1340", "--key-file", str(tmp_path / "key"))
        assert exit_code == 2
        assert content not in line or not content
    assert "cannot be read" in refusal("--url", "http://127.0.0.1:1", "--key-file", str(tmp_path / "none"))[1]


def test_a_server_that_is_not_there_is_said_before_anything_is_sent():
    exit_code, line = refusal("--url", "http://127.0.0.1:1")
    assert exit_code == 1
    assert "no server answers" in line


def test_the_summary_adds_up():
    latencies_s = [n / 1000 for n in range(1, 101)]
    figures = Figures(sent=104, accepted=90, duplicate=10, failed=3, retried=2, latencies_s=latencies_s)
    figures.reasons["422 Wrong: personId."] = 3
    assert summary(figures, 7).splitlines() == [
        "sent 104, accepted 90, duplicate 10, failed 3, retried 2, unanswered 1",
        "  3 x 422 Wrong: personId.",
        "from the scheduled time to the answer: p50 50.0 ms, p99 99.0 ms, longest 100.0 ms",
        "--seed 7 has the same people come at the same moments",
    ]
    assert "no answers" in summary(Figures(), 7)


@pytest.mark.parametrize(
    ("count", "percent", "expected"), [(1, 50, 1), (1, 99, 1), (2, 50, 1), (100, 99, 99), (10, 99, 10)]
)
def test_percentiles_are_values_that_occurred(count, percent, expected):
    assert percentile_s([float(n) for n in range(1, count + 1)], percent) == expected
