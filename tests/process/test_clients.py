"""docs/clients.md, done as it says: each program in it prints what stands there, and what it tells
people to watch for is so. The clients are other people's, and so is what they make of the bytes."""

import re
import subprocess

import pytest

from clients.runners import (
    GO, LIBMPACK, MSGPACK5RPC, NEOVIM, PORT, PYNVIM, UNIX, block, needs,
)
from lib import actctl, paths
from lib.daemon import Daemon, environment
from lib.tree_data import oracle_of

LONG = pytest.param(GO, marks=pytest.mark.long)
EVERY = [PYNVIM, LIBMPACK, NEOVIM, LONG, MSGPACK5RPC]
BAD_KEY = "BAD_PARAMS: the key is neither str nor bin"

# Where doubles, signed integers and strings that end at a NUL part with what was sent.
EDGES = {
    b"2^53+1": 2**53 + 1,
    b"2^63-1": 2**63 - 1,
    b"2^63": 2**63,
    b"2^64-1": 2**64 - 1,
    b"nul\0bark": 1,
    b"nul\0barn": 2,
    b"\xff": 3,
}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A daemon with the tree that the document makes, made by its commands."""
    directory = tmp_path_factory.mktemp("words")
    build, serve = block("Clients", "sh").split("build/daemon/actd", 1)
    build = build.replace("build/client/actctl", str(actctl.ACTCTL))
    subprocess.run(["sh", "-eu", "-c", build], cwd=directory, check=True, env=environment(),
                   stderr=subprocess.DEVNULL)
    settings = dict(re.findall(r"--set (\S+)=(\S+)", serve))
    assert settings == {"tree.path": "words.act", "listen.unix": UNIX,
                        "listen.tcp": f"127.0.0.1:{PORT}"}
    with Daemon(directory / "words.act") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def edges(tmp_path_factory):
    tree = tmp_path_factory.mktemp("edges") / "edges.act"
    actctl.build(tree, b"".join(b"%s\t%d\n" % pair for pair in EDGES.items()))
    with Daemon(tree) as daemon:
        yield daemon


# The programs


@pytest.mark.parametrize("client", EVERY, ids=repr)
def test_the_program_prints_what_the_document_shows(client, words, kind, tmp_path):
    needs(client)
    assert client.run(client.program, getattr(words, kind), tmp_path) == client.shown


# All that a tree holds, page by page: a line for each key, in hexadecimal, with its value.

ALL = {
    PYNVIM: """
options = {}
while options is not None:
    page = session.request("scan", b"", options)
    for key, value in page["entries"]:
        print(key.hex(), value)
    options = page["cursor"] and {"cursor": page["cursor"]}
""",
    LIBMPACK: """
local page = call("scan", "")
while true do
    for _, entry in ipairs(page.entries) do
        local hex = entry[1]:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
        print(hex .. " " .. entry[2])
    end
    if page.cursor == mpack.NIL then break end
    page = call("scan", "", {cursor = page.cursor})
end
""",
    NEOVIM: """
local page = call("scan", "")
while true do
    for _, entry in ipairs(page.entries) do
        local hex = entry[1]:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
        io.stdout:write(hex .. " " .. entry[2] .. "\\n")
    end
    if page.cursor == vim.NIL then break end
    page = call("scan", "", {cursor = page.cursor})
end
""",
    GO: """
	options := map[string]interface{}{}
	for more := true; more; {
		var p page
		if err := call(&p, "scan", "", options); err != nil {
			panic(err)
		}
		for _, entry := range p.Entries {
			fmt.Printf("%x %d\\n", entry.Key, entry.Value)
		}
		options["cursor"], more = p.Cursor, p.Cursor != nil
	}
}
""",
    MSGPACK5RPC: """
(async () => {
    await call('hello', {u64: 'str'});
    const options = {};
    do {
        const page = await call('scan', '', options);
        for (const [key, value] of page.entries) console.log(key.toString('hex'), value);
        options.cursor = page.cursor;
    } while (options.cursor);
    socket.end();
})();
""",
}

ODD_KEYS = paths.EDGE / "br256_root.stream.act"


@pytest.mark.parametrize("tree", [paths.CITIES, ODD_KEYS], ids=lambda tree: tree.name)
@pytest.mark.parametrize("client", EVERY, ids=repr)
def test_every_entry_of_a_tree_arrives_as_it_is(client, tree, kind, tmp_path):
    needs(client)
    wanted = [f"{key.hex()} {value}" for key, value in sorted(oracle_of(tree).pairs)]
    with Daemon(tree) as daemon:
        printed = client.use(ALL[client], getattr(daemon, kind), tmp_path)
    assert printed.splitlines() == wanted


# pynvim; more of it is in test_pynvim.py


def test_pynvim_needs_an_error_wrapper(words, tmp_path):
    needs(PYNVIM)
    assert PYNVIM.use("""
del session.error_wrapper
try:
    session.request("get", 5)
except AttributeError as error:
    print("BAD_PARAMS" in str(error))
session.error_wrapper = lambda error: RuntimeError(error)
session.request("hello", {"errors": "string"})
try:
    session.request("get", 5)
except RuntimeError as error:
    print(error)
""", words.unix, tmp_path) == f"False\n{BAD_KEY}\n"


# libmpack


def test_libmpack_has_doubles(edges, tmp_path):
    needs(LIBMPACK)
    assert LIBMPACK.use("""
local function exact(key) return ("%.0f"):format(call("get", key)) end
call("hello", {u64 = "int"})
print(exact("2^53+1"), exact("2^64-1"))
call("hello", {u64 = "str"})
print(call("get", "2^53+1"), call("get", "2^64-1"))
""", edges.unix, tmp_path) == (
        "9007199254740992\t18446744073709551616\n9007199254740993\t18446744073709551615\n"
    )


def test_libmpack_has_a_nil_of_its_own_and_no_empty_map(edges, tmp_path):
    needs(LIBMPACK)
    assert LIBMPACK.use("""
print(call("get", "wolf") and "true", call("get", "wolf") == mpack.NIL)
print(#call("range", mpack.NIL, "2^6").entries)
print((pcall(call, "range", nil, "2^6")))
print((pcall(call, "hello", {})))
print(call("get", "\\255"))
""", edges.unix, tmp_path) == "true\ttrue\n1\nfalse\nfalse\n3\n"


def test_libmpack_gets_errors_as_tables_too(words, tmp_path):
    needs(LIBMPACK)
    assert LIBMPACK.use("""
call("hello", {errors = "array"})
local _, failure = pcall(call, "get", 5)
print(unpack(failure))
""", words.unix, tmp_path) == f"3\t{BAD_KEY}\n"


def test_libmpack_tells_answers_apart_and_takes_many_bytes(cities, kind, tmp_path):
    """A long request is the first, so that others can overtake it."""
    needs(LIBMPACK)
    before = cities.stat("messages", "notifications_ignored")
    assert LIBMPACK.use("""
local sent = {}
sent[1] = session:request(1) .. pack("scan") .. pack{"", {limit = 20000}}
for i = 2, 1000 do
    sent[i] = session:request(i) .. pack("mget") .. pack{{"", "no key " .. i}}
end
assert(sock:send(session:notify() .. pack("hello") .. pack{} .. table.concat(sent)))
sock:settimeout(0)
while next(sent) do
    require "socket".select({sock})
    local all, why, some = sock:receive(65536)
    assert(all or why == "timeout", why)
    local data = all or some
    while #data > 0 do
        local kind, tag, failure, result, at = session:receive(data)
        if kind then
            assert(sent[tag] and failure == mpack.NIL)
            assert(tag == 1 and #result.entries == 20000 or result[1] == "37364")
            sent[tag] = nil
        end
        data = data:sub(at)
    end
end
print("all")
""", getattr(cities, kind), tmp_path) == "all\n"
    assert cities.stat("messages", "notifications_ignored") == before + 1


# Neovim


def test_neovim_loses_large_values_and_the_texts_of_errors(edges, tmp_path):
    needs(NEOVIM)
    assert NEOVIM.use("""
local function exact(key) return ("%.0f"):format(call("get", key)) end
call("hello", {errors = "array", u64 = "int"})
print(exact("2^53+1"), exact("2^63-1"), call("get", "2^63"), call("get", "2^64-1"))
print(vim.api.nvim_eval(("rpcrequest(%d, 'get', '2^53+1') - 9007199254740992"):format(chan)))
print(vim.api.nvim_eval(("rpcrequest(%d, 'get', '2^63-1') - 9223372036854775807"):format(chan)))
print(vim.api.nvim_eval(("rpcrequest(%d, 'get', '2^63') is v:null"):format(chan)))
print(pcall(call, "get", 5))
""", edges.unix, tmp_path) == (
        "9007199254740992 9223372036854775808 vim.NIL vim.NIL\n"
        "1\n0\n1\nfalse unknown error\n"
    )


def test_neovim_cuts_at_nul_except_in_lua(edges, tmp_path):
    needs(NEOVIM)
    assert NEOVIM.use("""
local page = call("scan", "nul", {limit = 1})
local cut = vim.fn.rpcrequest(chan, "scan", "nul", {limit = 1})
print(#page.entries[1][1], call("scan", "nul", {cursor = page.cursor}).entries[1][2])
print(#cut.entries[1][1], #cut.cursor < #page.cursor)
print(call("get", "nul\\0bark"), call("get", "\\255"))
""", edges.unix, tmp_path) == "8 2\n3 true\n1 3\n"


def test_neovim_has_no_empty_map_but_by_name(words, tmp_path):
    needs(NEOVIM)
    assert NEOVIM.use("""
print((pcall(call, "hello", {})))
print((pcall(call, "hello", vim.empty_dict())))
vim.rpcnotify(chan, "hello")
print(call("ping"))
""", words.unix, tmp_path) == "false\ntrue\npong\n"
    assert words.stat("messages", "notifications_ignored") >= 1


# msgpack5rpc


def run_node(text, address, directory):
    return MSGPACK5RPC.use(f"(async () => {{\n{text}\nsocket.end();\n}})();", address, directory)


def test_msgpack5rpc_has_doubles(edges, kind, tmp_path):
    needs(MSGPACK5RPC)
    assert run_node("""
console.log(await call('get', '2^53+1'), await call('get', '2^64-1'));
await call('hello', {u64: 'str'});
console.log(await call('get', '2^53+1'), await call('get', '2^64-1'));
console.log(await call('get', Buffer.from([255])));
""", getattr(edges, kind), tmp_path) == (
        "9007199254740992 18446744073709552000\n9007199254740993 18446744073709551615\n3\n"
    )


@pytest.mark.parametrize("value", ["1n", "undefined"])
def test_msgpack5rpc_sends_nothing_after_what_it_cannot_pack(words, value, tmp_path):
    needs(MSGPACK5RPC)
    assert run_node(f"""
await call('get', {value}).catch(error => console.log(error instanceof Error));
socket.on('close', () => console.log('close'));
call('ping').then(() => console.log('never'));
""", words.unix, tmp_path) == "true\nclose\n"


def test_msgpack5rpc_leaves_undefined_options_out_and_takes_text_as_errors(words, tmp_path):
    needs(MSGPACK5RPC)
    assert run_node("""
console.log((await call('scan', 'bar', {limit: 1, cursor: undefined})).entries.length);
await call('hello', {errors: 'string'});
await call('get', 5).catch(error => console.log(error));
session.notify('hello', []);
console.log(await call('ping'));
""", words.unix, tmp_path) == f"1\n{BAD_KEY}\npong\n"
    assert words.stat("messages", "notifications_ignored") >= 1


def test_msgpack5rpc_has_many_requests_under_way(cities, kind, tmp_path):
    """A long request is the first, so that others can overtake it."""
    needs(MSGPACK5RPC)
    assert run_node("""
const page = call('scan', '', {limit: 20000}), asked = [];
for (let i = 0; i < 1000; i++) asked.push(call('mget', ['', 'no key ' + i]));
console.log((await Promise.all(asked)).filter(values => values[0] === 37364).length);
console.log((await page).entries.length);
""", getattr(cities, kind), tmp_path) == "1000\n20000\n"


def test_msgpack5rpc_does_not_tell_of_the_end(actd, kind, tmp_path):
    """The server waits until all is sent, however slow: a reset would be another end."""
    needs(MSGPACK5RPC)
    daemon = actd(settings={"limits.linger_timeout_ms": 60000})
    assert MSGPACK5RPC.use("""
socket.on('close', () => console.log('close'));
session.request('get', ['x'.repeat(2 ** 20)], error => console.log(error[0]));
session.request('ping', [], () => console.log('never'));
""", getattr(daemon, kind), tmp_path) == "4\nclose\n"


# Go


def run_go(text, address, directory):
    return GO.use(text + "}", address, directory)


@pytest.mark.long
def test_go_breaks_on_errors_that_are_no_strings(words, tmp_path):
    needs(GO)
    assert run_go("""
	fmt.Println(call(nil, "hello", map[string]string{"errors": "array"}))
	fmt.Println(call(nil, "get", 5) != nil, call(nil, "ping") != nil)
""", words.unix, tmp_path) == "<nil>\ntrue true\n"


@pytest.mark.long
def test_go_wraps_a_single_parameter(words, tmp_path):
    needs(GO)
    assert run_go("""
	var value uint64
	var values []*uint64
	fmt.Println(client.Call("get", "bark", &value), value)
	fmt.Println(client.Call("mget", []string{"barn", "wolf"}, &values), *values[0], values[1])
	fmt.Println(client.Call("ping", nil, nil))
	fmt.Println(client.Call("ping", codec.MsgpackSpecRpcMultiArgs(nil), nil))
	fmt.Println(client.Call("ping", codec.MsgpackSpecRpcMultiArgs{}, nil))
""", words.unix, tmp_path) == (
        "<nil> 1\n<nil> 300 <nil>\n"
        "BAD_PARAMS: ping takes no parameters, and not 1\n"
        "BAD_REQUEST: the parameters are not an array\n<nil>\n"
    )


@pytest.mark.long
def test_go_wants_a_reply_that_fits(words, tmp_path):
    needs(GO)
    assert run_go("""
	var missing uint64
	var text, used interface{}
	fmt.Println(call(&missing, "get", "wolf"), missing)
	fmt.Printf("%v %T\\n", call(&text, "ping"), text)
	used = []byte("pong")
	fmt.Println(call(&used, "get", "bark") != nil, call(nil, "ping") != nil)
""", words.unix, tmp_path) == "<nil> 0\n<nil> []uint8\ntrue true\n"
