"""Parameter models: text becomes values, unknown names are refused, methods keep to their own."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from voxelmill.core import params
from voxelmill.core.errors import ParameterError
from voxelmill.core.params import Methods, Params, param, parse

Positive = Annotated[int, Field(ge=1)]


class Plain(Params):
    """Everything that a field can be."""

    name: str = param("", "A word")
    count: int = param(3, "A number", ge=0, le=9, unit="voxel")
    share: float = param(0.5, "A share", gt=0, lt=1)
    flag: bool = param(False, "Yes or no")
    size: tuple[Positive, Positive, Positive] | None = param(None, "Three numbers")
    edges: list[float] = param([1.0, 2.0], "Numbers")
    method: Literal["none", "rigid"] = param("none", "One of these")
    levels: Literal[1, 2, 4] = param(2, "One of these numbers")


class Classic(Params):
    """The classic."""

    segmentation: Literal["classic"] = param("classic", "Method")
    seed: int = param(7, "Shared")
    distance: int = param(8, "Its own", ge=1)


class Learned(Params):
    """The learned."""

    segmentation: Literal["learned"] = param("learned", "Method")
    seed: int = param(7, "Shared")
    model: str = param("small", "Its own")


BOTH = Methods("segmentation", Classic, Learned)


def test_text_becomes_values():
    made = parse(
        Plain,
        {
            "name": "5",
            "count": "4",
            "share": "0.25",
            "flag": "true",
            "size": "1,2,3",
            "edges": "0.5, 1.5",
            "method": "rigid",
            "levels": "4",
        },
    )
    assert made == Plain(name="5", count=4, share=0.25, flag=True, size=(1, 2, 3), edges=[0.5, 1.5], method="rigid", levels=4)


@pytest.mark.parametrize("text", ["3,2,1", "3, 2, 1", "3 2 1", "[3, 2, 1]", "(3, 2, 1)", "3,2,1,"])
def test_lists_as_people_write_them(text):
    assert parse(Plain, {"size": text}).size == (3, 2, 1)


def test_what_is_not_given():
    for given_ in ({}, {"size": "", "name": ""}, {"size": "null"}):
        assert parse(Plain, given_) == Plain()


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("false", False), ("False", False), ("0", False)]
)
def test_flags_arrive_as_words_under_the_strict_parser(text, value):
    assert parse(Plain, {"flag": text}).flag is value


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"count": "10"}, "--count '10': Input should be less than or equal to 9"),
        ({"count": "2.5"}, "--count '2.5'"),
        ({"count": "many"}, "--count 'many'"),
        ({"share": "nan"}, "--share 'nan'"),
        ({"share": "1"}, "--share '1'"),
        ({"flag": "so"}, "--flag 'so'"),
        ({"size": "1,2"}, "--size"),
        ({"size": "1,2,0"}, "--size.2"),
        ({"edges": "1,x"}, "--edges.1 'x'"),
        ({"method": "elastic"}, "--method 'elastic': Input should be 'none' or 'rigid'"),
        ({"levels": "3"}, "--levels"),
        ({"cuont": "1"}, "unknown parameter --cuont. Did you mean --count?"),
        ({"zzzzzz": "1"}, "unknown parameter --zzzzzz."),
    ],
)
def test_what_does_not_fit_is_named(given_, words):
    with pytest.raises(ParameterError) as raised:
        parse(Plain, given_)
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_models_do_not_change():
    with pytest.raises(Exception, match="frozen"):
        Plain().count = 5


def test_the_method_chooses_the_model():
    assert parse(BOTH, {}) == Classic()
    learned = parse(BOTH, {"segmentation": "learned", "model": "large", "seed": "9"})
    assert learned == Learned(model="large", seed=9)
    assert BOTH.default == "classic"
    assert set(params.fields_of(BOTH)) == {"segmentation", "seed", "distance", "model"}


def test_parameters_of_another_method_are_refused_unless_they_have_their_default():
    assert parse(BOTH, {"model": "small"}) == Classic()  # as every default arrives from a config
    assert parse(BOTH, {"segmentation": "learned", "distance": "8.0"}).model == "small"  # a number in other words
    with pytest.raises(ParameterError, match=r"--distance '8\.5' has no use"):
        parse(BOTH, {"segmentation": "learned", "distance": "8.5"})
    with pytest.raises(ParameterError, match="--model 'large' has no use with --segmentation classic; it belongs to learned"):
        parse(BOTH, {"model": "large"})
    with pytest.raises(ParameterError, match="--segmentation 'magic': expected one of classic, learned"):
        parse(BOTH, {"segmentation": "magic"})
    with pytest.raises(ParameterError, match="Did you mean --distance"):
        parse(BOTH, {"distanse": "2"})


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.builds(
        Plain,
        name=st.sampled_from(["", "a", "x y"]),
        count=st.integers(0, 9),
        flag=st.booleans(),
        share=st.floats(0.01, 0.99),
        size=st.none() | st.tuples(*[st.integers(1, 99)] * 3),
        edges=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4),
        levels=st.sampled_from([1, 2, 4]),
    )
)
def test_values_written_as_text_come_back(made):
    assert parse(Plain, {name: params.to_text(value) for name, value in made}) == made
    assert params.canonical(made) == params.canonical(parse(Plain, dict(made)))
