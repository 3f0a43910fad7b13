"""How one operation of the API is described. Values only."""

from __future__ import annotations

from typing import Any

import msgspec

from server_proc.json_body import JSON_TYPE


class Parameter(msgspec.Struct, frozen=True):
    """A parameter in the query, a header or the path."""

    name: str
    place: str
    schema: dict[str, Any]
    description: str


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A request's body: a shape, or another schema."""

    shape: Any
    examples: dict[str, Any]
    media_type: str = JSON_TYPE
    description: str = ""


class Success(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is no problem."""

    description: str
    shape: Any
    example: Any
    media_type: str = JSON_TYPE


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What a route does; `problems` are the statuses of its errors beyond those that every route has."""

    summary: str
    tag: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: dict[int, Success]
    problems: tuple[int, ...] = ()
