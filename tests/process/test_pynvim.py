"""A client that we did not write: pynvim opens with a notification, sends method names as str or
bin, and decodes with its own settings."""

import pytest

from lib import paths
from lib.tree_data import oracle_of

msgpack_rpc = pytest.importorskip(
    "pynvim.msgpack_rpc", reason="python3-pynvim is not installed"
)

ORACLE = oracle_of(paths.CITIES)


@pytest.fixture
def session(cities, kind):
    if kind == "unix":
        opened = msgpack_rpc.socket_session(cities.unix[1])
    else:
        opened = msgpack_rpc.tcp_session(cities.tcp[1], cities.tcp[2])
    opened.error_wrapper = lambda error: RuntimeError(error)
    yield opened
    opened.close()


@pytest.mark.parametrize("form", [str, str.encode], ids=["str", "bin"])
def test_every_method_answers(session, form):
    key = ORACLE.keys[100]
    assert session.request(form("ping")) == "pong"
    assert session.request(form("get"), key) == ORACLE.get(key)
    assert session.request(form("get"), b"\xff") is None
    assert session.request(form("mget"), [key, b"\xff"]) == [ORACLE.get(key), None]
    assert session.request(form("exists"), key) is True
    assert session.request(form("node"), key) == ORACLE.node(key)
    assert session.request(form("hello"))["server"] == "actd"
    assert session.request(form("info"))["tree"]["size_bytes"] == paths.CITIES.stat().st_size
    assert session.request(form("stats"))["connections"]["open"] >= 1


def test_many_requests_are_answered(session):
    for key in ORACLE.sample(1000):
        assert session.request("get", key) == ORACLE.get(key)


def test_errors_arrive_as_errors(session):
    with pytest.raises(RuntimeError) as caught:
        session.request("nonsense")
    number, text = caught.value.args[0]
    assert number == 2 and text.startswith("UNKNOWN_METHOD: ")
    with pytest.raises(RuntimeError):
        session.request("get", 1)
    assert session.request("ping") == "pong"


def test_the_notification_that_it_opens_with_is_ignored(actd):
    daemon = actd(settings={"limits.linger_timeout_ms": 100})
    opened = msgpack_rpc.socket_session(daemon.unix[1])
    try:
        assert opened.request("ping") == "pong"
        opened.request("nvim_subscribe", "x", async_=True)
        assert opened.request("ping") == "pong"
        assert daemon.stat("messages", "notifications_ignored") == 2
    finally:
        opened.close()
