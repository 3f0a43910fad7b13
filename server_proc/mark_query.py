"""Reading the query string of GET /api/attendance. Pure; any thread."""

from __future__ import annotations

from server_proc.problems import WrongFieldsError
from server_proc.query_arguments import Pairs, QueryArguments
from server_proc.store import MarkQuery

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
MAX_SEQ = 2**63 - 1


def parse_mark_query(pairs: Pairs) -> MarkQuery:
    """Check the arguments and return what they ask for. Raises WrongFieldsError naming every wrong one."""
    arguments = QueryArguments(pairs, ("after_seq", "person", "from", "to", "limit"))
    query = MarkQuery(
        after_seq=arguments.number("after_seq", (0, MAX_SEQ), 0),
        limit=arguments.number("limit", (1, MAX_LIMIT), DEFAULT_LIMIT),
        person_id=arguments.text("person"),
        from_ms=arguments.moment_ms("from"),
        to_ms=arguments.moment_ms("to"),
    )
    if arguments.errors:
        raise WrongFieldsError(arguments.errors)
    return query
