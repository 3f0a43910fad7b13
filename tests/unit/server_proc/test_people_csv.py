"""What spreadsheets write, and every line that is wrong in it."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_proc.new_person import NewPerson
from server_proc.people_csv import MAX_PEOPLE, parse_people
from server_proc.problems import WrongFieldsError

ADA = NewPerson(person_id="1", name="Ada", group="Staff")
BOB = NewPerson(person_id="2", name="Bob")


def faults(data):
    with pytest.raises(WrongFieldsError) as caught:
        parse_people(data if isinstance(data, bytes) else data.encode())
    return [(error.line, error.field, error.message) for error in caught.value.errors]


@pytest.mark.parametrize(
    "data",
    [
        b"personId,name,group\n1,Ada,Staff\n2,Bob,\n",
        b"personId,name,group\r\n1,Ada,Staff\r\n2,Bob\r\n",
        b"personId,name,group\r1,Ada,Staff\r2,Bob",
        codecs.BOM_UTF8 + b"personId;name;group\r\n1;Ada;Staff\r\n2;Bob;\r\n",
        b"personId\tname\tgroup\n1\tAda\tStaff\n2\tBob\t",
        b'"personId","name","group"\n"1","Ada","Staff"\n"2","Bob",""\n',
        b"Group, Person ID ,NAME\nStaff,1, Ada \n,2,Bob\n",
        b"name,person_id,shoe size,group\nAda,1,38,Staff\nBob,2,,\n",
        b"id,name,group\n\n1,Ada,Staff\n,,\n\n2,Bob,\n\n",
    ],
)
def test_a_file_is_read_however_it_was_saved(data):
    assert parse_people(data) == [ADA, BOB]


def test_quotes_keep_separators_and_other_scripts_are_kept():
    data = 'id;name;group\r\n007;"Müller; ""Zoë""";東京\r\n'.encode("utf-8-sig")
    assert parse_people(data) == [NewPerson(person_id="007", name='Müller; "Zoë"', group="東京")]


def test_a_header_alone_is_nobody():
    assert parse_people(b"id,name,group\n") == []


@pytest.mark.parametrize("data", [b"", b"\n\n", b"1,Ada,Staff\n", codecs.BOM_UTF8])
def test_a_file_without_a_header_is_told_what_it_lacks(data):
    assert [fault[:2] for fault in faults(data)] == [(1, "personId"), (1, "name")]


def test_a_column_that_is_there_twice_is_named():
    assert [fault[:2] for fault in faults("id,name,personId\n1,Ada,1\n")] == [(1, "personId")]


def test_every_wrong_line_is_listed_with_its_number_and_field():
    data = "\r\n".join(
        [
            "id,name,group",
            "1,Ada,Staff",
            ",Nobody,",
            "3,,",
            "4,Eve,Staff,extra",
            '5,"Two',
            'lines",x',
            "6,Fine,",
            '7,"un"quoted,',
            f"8,{'x' * 129},\x07",
            "1,Ada again,",
            "9,Also fine,",
        ]
    )
    assert faults(data) == [
        (3, "personId", "is required: a text"),
        (4, "name", "is required: a text"),
        (5, "row", "has 4 cells, the header has 3"),
        (6, "name", "must not have control characters, line separators or lone surrogates"),
        (9, "row", "cannot be read: ',' expected after '\"'"),
        (10, "name", "must have at most 128 characters, has 129"),
        (10, "group", "must not have control characters, line separators or lone surrogates"),
        (11, "personId", "is on line 2 too"),
    ]


def test_a_quote_that_is_never_closed_is_named_where_it_opens():
    assert faults('id,name\n1,Ada\n2,"Bob\n3,Eve\n') == [(3, "row", "cannot be read: unexpected end of data")]


def test_lines_that_are_not_utf_8_are_all_named():
    data = "id,name\n1,Müller\n2,Bob\n3,Zoë\n".encode("latin-1")
    assert [fault[:2] for fault in faults(data)] == [(2, "row"), (4, "row")]
    assert faults("id,name\n1,Ada\n".encode("utf-16"))[0][:2] == (1, "row")


def test_too_many_people_are_refused_at_the_first_that_is_one_too_many():
    lines = ["id,name", *(f"{n},x" for n in range(MAX_PEOPLE))]
    assert len(parse_people("\n".join(lines).encode())) == MAX_PEOPLE
    assert [fault[:2] for fault in faults("\n".join([*lines, "a,x"]))] == [(MAX_PEOPLE + 2, "row")]


def test_the_sentence_names_ten_of_very_many():
    with pytest.raises(WrongFieldsError) as caught:
        parse_people(b"id,name\n" + b"x,\n" * 500)
    assert len(caught.value.errors) == 500
    assert "name on line 11 and 490 more" in caught.value.detail


@given(st.one_of(st.binary(), st.text('id,name;"\n\r\t 1').map(str.encode)).map(lambda tail: b"id,name\n" + tail))
def test_any_bytes_are_people_or_wrong_lines_of_the_file(data):
    lines = len(data.splitlines())
    try:
        ids = [person.person_id for person in parse_people(data)]
        wrong_lines = []
    except WrongFieldsError as error:
        ids = []
        wrong_lines = [each.line for each in error.errors]
    assert len(set(ids)) == len(ids)
    assert all(1 <= line <= lines for line in wrong_lines)
