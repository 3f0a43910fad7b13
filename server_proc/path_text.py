"""Texts in a path: any text can be an id there, percent-encoded. Knows werkzeug's routing; task threads."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from werkzeug.routing import BaseConverter

from server_proc.problems import ProblemError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class TextConverter(BaseConverter):
    """`<text:name>`: the rest of the path, slashes included: `%2F` has become one before the path is matched."""

    regex = r"[\s\S]+"
    part_isolating = False


def refuse_undecodable_path(environ: WSGIEnvironment) -> None:
    """Raise ProblemError 400 for a path that is not UTF-8: werkzeug would make one id of many that are none."""
    path = environ.get("PATH_INFO", "")
    if path.isascii():
        return
    try:
        path.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The path is not percent-encoded UTF-8.") from error
