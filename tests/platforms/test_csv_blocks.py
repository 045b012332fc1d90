"""Where rows end in bytes with quotes, against a state machine that reads one byte after the other."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from livealign.platforms import csv_blocks

_pieces = st.sampled_from(['"', '""', ",", "\n", "\r\n", "a", "5 inch", ' "', "b,c"])


def read_byte_by_byte(data: bytes) -> tuple[int, bool]:
    """RFC 4180: a quote at the start of a field opens a quotation, one that is not doubled ends it."""
    end, quoted, i = 0, False, 0
    while i < len(data):
        one = data[i : i + 1]
        if quoted:
            if one == b'"' and data[i + 1 : i + 2] == b'"':
                i += 1
            elif one == b'"':
                quoted = False
        elif one == b'"' and (i == 0 or data[i - 1 : i] in (b",", b"\n", b"\r")):
            quoted = True
        elif one == b"\n":
            end = i + 1
        i += 1
    return end, quoted


@given(st.lists(_pieces, max_size=40).map("".join))
@example('a,"b\n"\nc,"d""\n')
@example('5" wide,"x"\n"y\n')
@settings(max_examples=600)
def test_the_last_whole_row_ends_where_a_reader_of_every_byte_finds_it(text: str) -> None:
    data = text.encode()
    assert csv_blocks._last_row_end(data) == read_byte_by_byte(data)
