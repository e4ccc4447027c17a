"""Every option of a client: valid values, and the errors for others."""

import json
import math
import pickle
from typing import Any

import pytest

from flask_hazelcast_failover.client.events import ClusterSwitched, Reason
from flask_hazelcast_failover.client.options import Failback, Options, Repeat, Standby

SECONDS = [
    "retry_delay",
    "connect_timeout",
    "wait_timeout",
    "operation_timeout",
    "drain_timeout",
    "health_check_interval",
    "health_check_timeout",
    "failback_after",
]
SECONDS_THAT_MAY_BE_ZERO = [
    "retry_delay",
    "wait_timeout",
    "drain_timeout",
    "health_check_interval",
    "failback_after",
]
COUNTS = ["try_count", "health_check_failures", "listener_queue_events", "listener_queue_bytes"]
CHOICES = [("repeat", Repeat), ("standby", Standby), ("failback", Failback)]


def yes(client: object) -> bool:
    return True


async def async_yes(client: object) -> bool:
    return True


def test_defaults() -> None:
    assert Options.from_mapping({}) == Options(
        try_count=None,
        retry_delay=0.1,
        connect_timeout=3.0,
        wait_timeout=10.0,
        operation_timeout=10.0,
        drain_timeout=10.0,
        repeat=Repeat.REPEATABLE,
        standby=Standby.HOT,
        health_check_interval=1.0,
        health_check_timeout=1.0,
        health_check_failures=5,
        listener_queue_events=100_000,
        listener_queue_bytes=67_108_864,
        max_message_size=536_870_912,
        failback=Failback.MANUAL,
        failback_after=120.0,
        ready_check=None,
        client_options={},
    )


@pytest.mark.parametrize("name", SECONDS)
def test_whole_numbers_are_seconds_too(name: str) -> None:
    seconds = getattr(Options.from_mapping({name: 3}), name)
    assert (seconds, type(seconds)) == (3.0, float)


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", ["3", True, None, [3], 3j])
def test_seconds_of_the_wrong_type_are_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be a number of seconds.*{type(value).__name__}"):
        Options.from_mapping({name: value})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, 10**400])
def test_seconds_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds.*{type(value).__name__}"):
        Options.from_mapping({name: value})


@pytest.mark.parametrize("name", SECONDS)
def test_zero_seconds_are_refused_for_most_time_outs(name: str) -> None:
    if name in SECONDS_THAT_MAY_BE_ZERO:
        assert getattr(Options.from_mapping({name: 0}), name) == 0.0
    else:
        with pytest.raises(ValueError, match=f"{name} must be a number of seconds above 0"):
            Options.from_mapping({name: 0})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", ["3", True, None, 3.0])
def test_counts_of_the_wrong_type_are_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be a whole number.*\({type(value).__name__}\)"):
        Options.from_mapping({name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1])
def test_a_count_below_one_is_refused(name: str, value: int) -> None:
    with pytest.raises(
        ValueError, match=rf"{name} must be a whole number of at least 1, not {value} \(int\)"
    ):
        Options.from_mapping({name: value})


@pytest.mark.parametrize(("name", "kind"), CHOICES)
def test_a_choice_is_given_as_text_or_enum_member(name: str, kind: type[Any]) -> None:
    for member in kind:
        assert getattr(Options.from_mapping({name: member.value}), name) is member
        assert getattr(Options.from_mapping({name: member}), name) is member


@pytest.mark.parametrize(("name", "kind"), CHOICES)
@pytest.mark.parametrize("value", [1, None, True, ["hot"]])
def test_choices_of_the_wrong_type_are_refused(name: str, kind: type[Any], value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} must be one of .*{type(value).__name__}"):
        Options.from_mapping({name: value})


@pytest.mark.parametrize(("name", "kind"), CHOICES)
def test_an_unknown_choice_is_refused_with_a_suggestion(name: str, kind: type[Any]) -> None:
    for member in kind:
        mistyped = member.value.upper() + "x"
        with pytest.raises(
            ValueError, match=rf"{name} must be one of .*\(str\): did you mean '{member.value}'"
        ):
            Options.from_mapping({name: mistyped})


def test_a_ready_check_is_given_as_a_callable_or_by_name() -> None:
    for given, found in {None: None, yes: yes, f"{__name__}:yes": yes, f"{__name__}.yes": yes}.items():
        assert Options.from_mapping({"ready_check": given}).ready_check is found


@pytest.mark.parametrize("value", [1, True, ["os.path:exists"]])
def test_a_ready_check_that_cannot_be_called_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="ready_check must be a callable"):
        Options.from_mapping({"ready_check": value})


@pytest.mark.parametrize("value", ["", "os.path:exist", "no_such_package:check", "os.path", "os.sep", "a b"])
def test_a_ready_check_that_cannot_be_imported_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=rf"ready_check must be a callable.*'{value}' \(str\)"):
        Options.from_mapping({"ready_check": value})


@pytest.mark.parametrize("value", [async_yes, f"{__name__}:async_yes"])
def test_a_coroutine_function_is_refused_as_a_ready_check(
    value: object,
) -> None:
    """The coroutine that it returns would always count as true."""
    with pytest.raises(TypeError, match="ready_check must be an ordinary function"):
        Options.from_mapping({"ready_check": value})


@pytest.mark.parametrize("value", ["labels", ["labels"], None, 1])
def test_client_options_that_are_no_dict_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match=f"client_options.*dict.*{type(value).__name__}"):
        Options.from_mapping({"client_options": value})


def test_an_unknown_client_option_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"client_options.*'labls'.*'labels'"):
        Options.from_mapping({"client_options": {"labls": ["web"]}})


def test_credentials_are_neither_in_the_repr_nor_in_a_refusal() -> None:
    options = Options.from_mapping({"client_options": {"creds_username": "u", "creds_password": "hidden"}})
    assert "hidden" not in repr(options)
    for name in (*SECONDS, *COUNTS, "repeat", "ready_check"):
        with pytest.raises(TypeError) as refusal:
            Options.from_mapping({name: {"creds_password": "hidden"}})
        assert "hidden" not in str(refusal.value)


def test_options_are_copied_and_read_only() -> None:
    given = {"labels": ["web"]}
    options = Options.from_mapping({"client_options": given})
    given["labels"] = ["changed"]
    assert options.client_options == {"labels": ["web"]}
    with pytest.raises(TypeError):
        options.client_options["labels"] = []  # type: ignore[index]


def test_an_unknown_option_is_refused_by_the_name_the_user_gave() -> None:
    """The suggestion is in the user's names too."""
    with pytest.raises(ValueError, match=r"APP_RETRY_DELY .*float.*nearest valid one is APP_RETRY_DELAY"):
        Options.from_mapping({"retry_dely": 0.5}, name_of=lambda name: f"APP_{name.upper()}")


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("async_start", True, r"decided by this client: start\(\) connects"),
        ("reconnect_mode", "ON", "decided by this client"),
        ("ssl_enabled", True, "official client's, for APP_client_options"),
    ],
)
def test_options_of_the_official_client_are_refused_with_advice(
    name: str, value: object, advice: str
) -> None:
    with pytest.raises(ValueError, match=f"APP_{name} .*{advice}"):
        Options.from_mapping({name: value}, name_of=lambda name: f"APP_{name}")


@pytest.mark.parametrize("name", [*SECONDS, *COUNTS])
def test_a_number_too_long_to_print_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Options.from_mapping({name: -(10**5000)})


def test_a_reason_formats_and_serializes_as_its_text() -> None:
    event = ClusterSwitched("blue", "green", Reason.HEALTH_CHECK, duration=0.1, epoch=2)
    assert event.reason == "health-check"
    assert f"{event.reason}" == "{}".format(event.reason) == "%s" % event.reason == "health-check"  # noqa: UP031, UP032
    assert json.dumps({"reason": event.reason}) == '{"reason": "health-check"}'
    assert pickle.loads(pickle.dumps(event)) == event
