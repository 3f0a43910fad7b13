"""`doctor`: where each setting comes from, and whether anything stands in Axon's way.

Owns the order of the checks and how the whole reads. Changes nothing, and works with and without a running instance.
Runs on the main thread of a process of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from launcher import doctor_instance, doctor_machine, remote
from launcher.errors import EXIT_FAILED, EXIT_OK, LauncherError, NoInstanceError, SettingsError
from launcher.findings import COLOURS, Check, Finding, Findings, Result, collect, ok, problem, warning
from launcher.instance import lock_path
from launcher.origins import DEFAULT, strangers, variable
from launcher.settings import Settings, checked, socket_path_of, state_dir_of

Paint = Callable[[str, str], str]


class Setting(msgspec.Struct, frozen=True):
    """An option's value and where that comes from."""

    option: str
    value: Any
    origin: str


class Report(msgspec.Struct, frozen=True):
    """All that doctor knows, as `--json` prints it. `result` is the worst of the findings."""

    result: Result
    settings: list[Setting]
    findings: list[Finding]
    instance: dict[str, Any] | None

    @property
    def exit_code(self) -> int:
        """Return 1 when anything keeps Axon from working."""
        return EXIT_FAILED if self.result is Result.PROBLEM else EXIT_OK


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """What is examined: the options as they were given, their origins, the environment."""

    settings: Settings
    origins: Mapping[str, str]
    environment: Mapping[str, str]


def examine(patient: Patient) -> Report:
    """Look at everything."""
    settings, environment = _resolved(patient), patient.environment
    status, trouble = _ask_instance(settings.socket)
    pid = _launcher_pid(settings.socket)
    checks: list[tuple[str, Check]] = [
        ("settings", lambda: _settings_findings(patient)),
        ("python", doctor_machine.python_finding),
        ("dependencies", doctor_machine.dependency_findings),
        ("qt libraries", lambda: doctor_machine.qt_findings(settings, environment)),
        ("display", lambda: doctor_machine.display_findings(settings, environment)),
        ("kernel", doctor_machine.kernel_findings),
        ("descriptors", doctor_machine.limit_findings),
        ("lock", lambda: doctor_instance.lock_findings(settings.socket)),
        ("socket", lambda: doctor_instance.socket_findings(settings, pid)),
        ("key file", lambda: doctor_instance.key_findings(settings.socket, pid)),
        ("port", lambda: doctor_instance.port_findings(settings, pid)),
        ("state directory", lambda: doctor_instance.state_findings(settings, pid)),
        ("instance", lambda: doctor_instance.instance_findings(settings.socket, status, trouble)),
    ]
    findings = [finding for topic, check in checks for finding in collect(topic, check)]
    worst = max((finding.result for finding in findings), key=list(Result).index)
    return Report(worst, _settings(patient, settings), findings, status)


def render(report: Report, paint: Paint) -> str:
    """Return the report for a person."""
    widths = [max(len(setting.option) for setting in report.settings), max(len(str(s.value)) for s in report.settings)]
    lines = ["Settings"]
    for setting in report.settings:
        value = str(setting.value).ljust(widths[1])
        lines.append(f"  {setting.option.ljust(widths[0])}  {value}  {setting.origin}")
    lines += ["", "Checks"]
    width = max(len(finding.topic) for finding in report.findings)
    for finding in report.findings:
        verdict = paint(finding.result.ljust(len(Result.PROBLEM)), COLOURS[finding.result])
        lines.append(f"  {verdict}  {finding.topic.ljust(width)}  {finding.detail}")
        if finding.remedy:
            lines.append(f"  {' ' * len(Result.PROBLEM)}  {' ' * width}  -> {finding.remedy}")
    return "\n".join((*lines, "", _summary(report.findings)))


def _summary(findings: list[Finding]) -> str:
    counts = {result: sum(finding.result is result for finding in findings) for result in Result}
    if not counts[Result.PROBLEM] and not counts[Result.WARNING]:
        return "All is well."
    return f"{_count(counts[Result.PROBLEM], 'problem')}, {_count(counts[Result.WARNING], 'warning')}."


def _count(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _resolved(patient: Patient) -> Settings:
    """Return the settings as a launch would see them, even where it would refuse them."""
    try:
        return checked(patient.settings, patient.environment)
    except SettingsError:
        return msgspec.structs.replace(
            patient.settings,
            socket=socket_path_of(patient.settings.socket),
            state_dir=state_dir_of(patient.settings, patient.environment),
        )


def _settings_findings(patient: Patient) -> Findings:
    """Check each setting by itself: a launch would stop at the first that is wrong."""
    is_fine = True
    for name in Settings.__struct_fields__:
        try:
            checked(Settings(**{name: getattr(patient.settings, name)}), patient.environment)
        except SettingsError as error:
            is_fine = False
            where = patient.origins.get(name, DEFAULT)
            yield problem("settings", str(error), f"change it where it comes from: {where}")
    if is_fine:
        yield ok("settings", "can be launched with")
    known = [variable(name) for name in (*Settings.__struct_fields__, "config")]
    for name in strangers(list(patient.environment)):
        meant = difflib.get_close_matches(name, known, 1) or known
        yield warning("environment", f"{name} sets nothing", f"unset it, or say {' or '.join(meant)}")


def _settings(patient: Patient, resolved: Settings) -> list[Setting]:
    return [
        Setting(f"--{name.replace('_', '-')}", getattr(resolved, name), patient.origins.get(name, DEFAULT))
        for name in Settings.__struct_fields__
    ]


def _launcher_pid(socket_path: str) -> int | None:
    try:
        return doctor_instance.lock_of(lock_path(socket_path)).pid
    except OSError:
        return None  # the check of the lock says why it cannot be read


def _ask_instance(socket_path: str) -> tuple[dict[str, Any] | None, str]:
    """Return the status of the instance if there is one, or why it does not tell."""
    try:
        return remote.status(socket_path), ""
    except NoInstanceError:
        return None, ""
    except LauncherError as error:
        return None, str(error)
