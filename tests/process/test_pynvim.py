"""A client that we did not write: pynvim opens with a notification, sends method names as str or
bin, and decodes with its own settings."""

import contextlib

import pytest

from lib import paths
from lib.tree_data import oracle_of

msgpack_rpc = pytest.importorskip(
    "pynvim.msgpack_rpc", reason="python3-pynvim is not installed"
)

ORACLE = oracle_of(paths.CITIES)


@contextlib.contextmanager
def session_with(address):
    if address[0] == "unix":
        opened = msgpack_rpc.socket_session(address[1])
    else:
        opened = msgpack_rpc.tcp_session(*address[1:])
    opened.error_wrapper = lambda error: RuntimeError(error)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def session(cities, kind):
    with session_with(getattr(cities, kind)) as opened:
        yield opened


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


@pytest.mark.parametrize("form", [str, str.encode], ids=["str", "bin"])
def test_every_method_in_order_answers(session, form):
    entries = [[key, ORACLE.get(key)] for key in ORACLE.keys]
    key, value = entries[100]
    prefix = key[:2]
    below = [entry for entry in entries if entry[0].startswith(prefix)]
    first = session.request(form("scan"), prefix, {"limit": 2})
    assert first["entries"] == below[:2]
    options = {form("cursor"): first["cursor"], "keys_only": True}
    rest = session.request(form("scan"), prefix, options)
    assert rest["entries"] == [entry[0] for entry in below[2:1002]]
    page = session.request(form("range"), key, None, {form("limit"): 10})
    assert page["entries"] == entries[100:110]
    pages = session.request(form("mscan"), [prefix, b"\xff"], {"limit": 1})
    assert [page["entries"] for page in pages] == [below[:1], []]
    assert session.request(form("count"), prefix) == {"count": len(below), "exact": True}
    assert session.request(form("next"), key) == entries[101]
    assert session.request(form("prev"), key) == entries[99]
    assert session.request(form("longest_prefix"), key + b"\xff") == [key, value]
    assert session.request(form("prefixes"), key)[-1] == [key, value]
    rows = session.request(form("explore"), prefix)
    assert [row[0] for row in rows] == list(ORACLE.node(prefix)["children"])


def test_all_pages_make_the_whole(session):
    entries, options = [], {"limit": 5000}
    while options:
        page = session.request("scan", b"", options)
        entries += page["entries"]
        options = page["cursor"] and {"limit": 5000, "cursor": page["cursor"]}
    assert entries == [[key, ORACLE.get(key)] for key in ORACLE.keys]


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


def test_the_end_of_the_connection_is_an_error(actd, kind):
    daemon = actd(settings={"limits.linger_timeout_ms": 60000})
    with session_with(getattr(daemon, kind)) as session:
        with pytest.raises(RuntimeError):
            session.request("get", bytes(2**20))
        with pytest.raises(OSError):
            session.request("ping")


def test_the_notification_that_it_opens_with_is_ignored(actd):
    daemon = actd(settings={"limits.linger_timeout_ms": 100})
    with session_with(daemon.unix) as session:
        assert session.request("ping") == "pong"
        session.request("nvim_subscribe", "x", async_=True)
        assert session.request("ping") == "pong"
        assert daemon.stat("messages", "notifications_ignored") == 2
