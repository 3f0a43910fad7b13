"""As many placeholders as there are values."""

import sqlite3

from server_proc.many_rows import values


def test_each_row_has_a_placeholder_for_each_column():
    assert values(2, 3) == "(?, ?), (?, ?), (?, ?)"


def test_sqlite_takes_as_many_rows_as_a_batch_may_have():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b, c, d, e)")
    cursor = connection.execute(f"INSERT INTO t VALUES {values(5, 1000)}", range(5000))  # noqa: S608
    assert cursor.lastrowid == 1000
    assert connection.execute("SELECT e FROM t WHERE rowid = 1000").fetchone() == (4999,)
    connection.close()
