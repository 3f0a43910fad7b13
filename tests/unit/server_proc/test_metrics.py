"""What is counted, and that a client cannot make up rows."""

import tomllib
from pathlib import Path

import pytest

from ipc.version import VERSION
from server_proc.metrics import ACK_BUCKETS_S, CREATED, DUPLICATE, MAX_UNACKED, REJECTED, Metrics


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics(clock):
    return Metrics(clock)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def rows(metrics, name):
    return [sample for family in metrics.registry.collect() for sample in family.samples if sample.name == name]


def test_requests_are_counted_by_method_route_and_status_and_timed(metrics):
    for status, duration_s in ((201, 0.002), (201, 0.02), (422, 0.002)):
        metrics.request("POST", "/api/attendance", status, duration_s)
    labels = {"method": "POST", "route": "/api/attendance"}
    assert value(metrics, "axon_http_requests_total", **labels, status="201") == 2
    assert value(metrics, "axon_http_requests_total", **labels, status="422") == 1
    assert value(metrics, "axon_http_request_duration_seconds_count", **labels) == 3
    assert value(metrics, "axon_http_request_duration_seconds_bucket", **labels, le="0.0025") == 2


def test_paths_without_a_route_and_made_up_methods_are_one_row(metrics):
    for number in range(50):
        metrics.request(f"MADEUP{number}", None, 404, 0.001)
    (row,) = rows(metrics, "axon_http_requests_total")
    assert (row.labels, row.value) == ({"method": "(other)", "route": "(none)", "status": "404"}, 50)
    assert metrics._of == {}  # nothing is remembered of them either


def test_results_of_marks_are_there_from_the_beginning(metrics):
    assert [value(metrics, "axon_marks_total", result=each) for each in (CREATED, DUPLICATE, REJECTED)] == [0, 0, 0]
    metrics.mark_committed(1)
    metrics.marks_not_stored(DUPLICATE, 3)
    metrics.marks_not_stored(REJECTED)
    assert [value(metrics, "axon_marks_total", result=each) for each in (CREATED, DUPLICATE, REJECTED)] == [1, 3, 1]


def test_refused_requests_are_counted_by_status(metrics):
    metrics.refused(400)
    assert value(metrics, "axon_http_refused_total", status="400") == 1


def test_the_time_from_commit_to_ack_counts_each_mark_for_each_client(metrics, clock):
    for seq in (1, 2, 4):  # 3 is no mark
        metrics.mark_committed(seq)
    clock.now_s += 0.02
    metrics.acked(0, 2)
    clock.now_s += 1
    metrics.acked(2, 4)
    metrics.acked(3, 4)  # another client
    assert value(metrics, "axon_mark_to_acked_seconds_count") == 4
    assert value(metrics, "axon_mark_to_acked_seconds_bucket", le="0.025") == 2
    assert value(metrics, "axon_mark_to_acked_seconds_sum") == pytest.approx(0.02 * 2 + 1.02 * 2)


def test_a_client_that_was_away_for_long_costs_a_bounded_look(metrics):
    for seq in range(1, 3 * MAX_UNACKED):
        metrics.mark_committed(seq)
    metrics.acked(0, 3 * MAX_UNACKED - 1)
    assert value(metrics, "axon_mark_to_acked_seconds_count") == MAX_UNACKED
    assert len(metrics._committed_s) == MAX_UNACKED
    assert value(metrics, "axon_mark_to_acked_seconds_bucket", le=str(ACK_BUCKETS_S[0])) == MAX_UNACKED


def test_what_this_is_and_what_it_uses(metrics):
    (build,) = rows(metrics, "axon_build_info")
    assert build.labels["version"] == VERSION
    assert value(metrics, "process_resident_memory_bytes") > 0
    assert value(metrics, "process_open_fds") > 0


def test_two_servers_in_one_process_do_not_share_figures(metrics):
    metrics.mark_committed(1)
    assert value(Metrics(), "axon_marks_total", result=CREATED) == 0


def test_the_version_is_that_of_the_project():
    pyproject = Path(__file__).resolve().parents[3] / "pyproject.toml"
    assert tomllib.loads(pyproject.read_text())["project"]["version"] == VERSION
