"""The serializer of the cache: it loads what it has stored, and refuses everything else with a ``ValueError``."""

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import MethodNotAllowed, NotFound

from flask_hazelcast_failover.integrations.serializer import _DECODERS, SafeSerializer

SERIALIZER = SafeSerializer()

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.integers(10**20, 10**40)
)
NAMES = st.sampled_from([*_DECODERS, "~unknown", "~"]) | st.text(max_size=4)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES, inner, max_size=2)
        | st.builds(lambda tag, value: {tag: value}, st.sampled_from(list(_DECODERS)), inner)
    ),
    max_leaves=12,
)


def loads(stored: Any) -> Any:
    """Load something, for which there are two ends only."""
    message = ""
    try:
        return SERIALIZER.loads(stored)
    except ValueError as error:
        message = str(error)
    assert len(message) < 500 and message.isprintable()
    return ValueError


@given(st.binary(max_size=200))
def test_any_bytes_are_loaded_or_refused(stored: bytes) -> None:
    loads(stored)


@settings(max_examples=500)
@given(JSON)
def test_any_json_with_tags_is_loaded_or_refused(value: Any) -> None:
    found = loads(json.dumps(value).encode())
    if found is not ValueError:
        repr(found)


@pytest.mark.parametrize(
    "stored",
    [
        b"[" * 100_000,
        b'{"~tuple":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"9" * 100_000,
        b'{"~timedelta":[' + b"9" * 400 + b",0,0]}",
        b'{"~timedelta":[999999999,86400,0]}',
        b'{"~timedelta":{"a":1}}',
        b'{"~date":"9999999-01-01"}',
        b'{"~datetime":5}',
        b'{"~date":["2026-01-02"]}',
        b'{"~time":"25:00"}',
        b'{"~decimal":"1E999999999999999999999"}',
        b'{"~decimal":[0,[1],"x"]}',
        b'{"~decimal":1.5}',
        b'{"~set":[{"~decimal":"sNaN"}]}',
        b'{"~set":[[]]}',
        b'{"~dict":[[{"~decimal":"sNaN"},1]]}',
        b'{"~dict":{"ab":1}}',
        b'{"~dict":["ab"]}',
        b'{"~dict":[[[],1]]}',
        b'{"~uuid":5}',
        b'{"~uuid":"5"}',
        b'{"~bytes":"not base64!"}',
        b'{"~bytes":null}',
        b'{"~bytes":"\\ud800"}',
        b'{"~tuple":"text"}',
        b'{"~markup":5}',
        b'{"~response":5}',
        b'{"~response":["200 OK",[[1,2]],{"~bytes":""}]}',
        b'{"~response":["200 OK",[["a","b"]],5]}',
        b'{"~response":["200 OK",[["a","b\\n"]],{"~bytes":""}]}',
        b'{"~response":["200 OK",[["a",null]],{"~bytes":""}]}',
        b'{"~response":["200 OK",[["a"]],{"~bytes":""}]}',
        b'{"~response":["200 OK",{"a":"b"},{"~bytes":""}]}',
        b'{"~response":["",[],{"~bytes":""}]}',
        b'{"~response":[null,[],{"~bytes":""}]}',
        b'{"~response":[[],[],{"~bytes":""}]}',
        b'{"~http-error":[999,null]}',
        b'{"~http-error":[[],null]}',
        b'{"~http-error":404}',
        b'{"~unknown":1}',
        b'{"~tuple":[],"b":1}',
        b"\xff\xfe\x00",
        b"",
        "[]",
        None,
        5,
    ],
    ids=lambda stored: repr(stored)[:60],
)
def test_what_was_not_stored_is_refused_with_a_value_error(stored: Any) -> None:
    assert loads(stored) is ValueError


def test_an_error_while_a_value_is_made_is_a_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> Any:
        raise NotFound("of another world")

    monkeypatch.setitem(_DECODERS, "~response", fail)
    assert loads(b'{"~response":[]}') is ValueError


def _holding_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> Any:
    value: Any = ()
    for _ in range(100_000):
        value = (value,)
    return value


@pytest.mark.parametrize("make", [_holding_itself, _deep, lambda: 10**5000])
def test_a_value_without_a_stored_form_is_refused(make: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        SERIALIZER.dumps(make())


@pytest.mark.parametrize(
    "value", [timedelta.max, timedelta.min, date.max, Decimal("Infinity"), Decimal("1E+400"), {"a": "~tuple"}]
)
def test_the_largest_values_are_loaded_as_they_were_stored(value: Any) -> None:
    assert SERIALIZER.loads(SERIALIZER.dumps(value)) == value


def test_a_signalling_nan_is_loaded_as_it_was_stored() -> None:
    assert str(SERIALIZER.loads(SERIALIZER.dumps([Decimal("sNaN12")]))[0]) == "sNaN12"


def test_a_response_is_loaded_as_it_was_stored() -> None:
    response = Response(b"\x00body", 418, [("X-A", "1"), ("X-A", "2")], mimetype="a/b")
    found = SERIALIZER.loads(SERIALIZER.dumps(response))
    assert (found.status, found.get_data()) == (response.status, b"\x00body")
    assert list(found.headers) == list(response.headers)


def test_an_http_error_keeps_its_description() -> None:
    found = SERIALIZER.loads(SERIALIZER.dumps(MethodNotAllowed(description="read only")))
    assert (type(found), found.description, found.valid_methods) == (MethodNotAllowed, "read only", None)
