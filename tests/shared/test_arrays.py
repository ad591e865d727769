"""Array literals mean to PostgreSQL what the values mean to Python."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import arrays

any_text = st.text(st.characters(exclude_characters="\x00", codec="utf-8"))
some_rows = st.lists(
    st.tuples(
        st.none() | any_text | st.sampled_from(["NULL", "null", '"', "\\", "{}", ",", "", '\\"']),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
        st.none() | st.binary(),
    ),
    min_size=1,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(rows=some_rows)
async def test_every_value_comes_back(postgres_server: str, rows: list[tuple[object, ...]]) -> None:
    texts, integers, booleans, contents = zip(*rows, strict=True)
    connection = await asyncpg.connect(postgres_server)
    found = await connection.fetch(
        "SELECT * FROM unnest($1::text::text[], $2::text::bigint[], $3::text::boolean[], "
        "$4::text::bytea[])",
        arrays.texts(texts),
        arrays.integers(integers),
        arrays.booleans(booleans),
        arrays.contents(contents),
    )
    await connection.close()
    assert [tuple(each) for each in found] == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(rows=st.lists(st.lists(st.integers(-(2**63), 2**63 - 1)), min_size=1))
async def test_integers_of_rows_that_have_several_come_back(
    postgres_server: str, rows: list[list[int]]
) -> None:
    connection = await asyncpg.connect(postgres_server)
    found = await connection.fetch(
        "SELECT r::bigint[] FROM unnest($1::text::text[]) AS r", arrays.several_integers(rows)
    )
    await connection.close()
    assert [each[0] for each in found] == rows


@pytest.mark.parametrize(
    ("encode", "value"),
    [
        (arrays.integers, "1,2"),
        (arrays.integers, 1.5),
        (arrays.texts, 1),
        (arrays.texts, b"x"),
        (arrays.booleans, 1),
        (arrays.contents, "x"),
    ],
)
@pytest.mark.parametrize("beside", [(), (None,)])
def test_a_value_of_another_type_is_refused(
    encode: arrays.Encode, value: object, beside: tuple[None, ...]
) -> None:
    with pytest.raises((TypeError, AttributeError)):
        encode((value, *beside))


def test_a_text_with_u_0000_is_refused_and_never_becomes_two() -> None:
    with pytest.raises(ValueError, match=r"U\+0000"):
        arrays.texts(["one\0two", "three"])
