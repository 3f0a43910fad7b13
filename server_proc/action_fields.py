"""Reading the fields of a ui's request: each as what it should be, and all that are wrong at once. Pure; any thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server_proc.marks import text_fault
from server_proc.problems import FieldError, WrongFieldsError

MAX_NUMBER = 2**63 - 1


class Fields:
    """The fields of one request. What is wrong reads as an empty value until `require_none_wrong` refuses it."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._payload = payload
        self._errors: list[FieldError] = []

    def add(self, name: str, message: str) -> None:
        """Note that a field is wrong."""
        self._errors.append(FieldError(name, message))

    def text(self, name: str, meaning: str) -> str:
        """Return a text that must be there; `meaning` tells what it is for."""
        if self._payload.get(name) is None:
            self.add(name, f"is required: {meaning}")
        return self.optional_text(name) or ""

    def optional_text(self, name: str) -> str | None:
        """Return a text; null is the same as left out."""
        value = self._payload.get(name)
        if value is None:
            return None
        fault = text_fault(value)
        if fault is not None:
            self.add(name, fault)
            return None
        return str(value)

    def number(self, name: str, low: int, default: int | None = None) -> int:
        """Return a whole number from `low`; without a default it must be there, and null is wrong either way."""
        value = self._payload.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= MAX_NUMBER:
            return value
        self.add(name, f"must be a whole number from {low}")
        return low

    def optional_number(self, name: str, low: int) -> int | None:
        """Return a whole number from `low`; null is the same as left out."""
        return None if self._payload.get(name) is None else self.number(name, low)

    def require_none_wrong(self) -> None:
        """Raise WrongFieldsError, naming every wrong field, if one is."""
        if self._errors:
            raise WrongFieldsError(self._errors)
