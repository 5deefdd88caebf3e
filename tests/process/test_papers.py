"""The manual pages as they are installed, and what they show: programs that are built and run, and
the protocol's options and examples, as the daemon knows them."""

import re

import msgpack
import pytest

from lib import installed, paths, rpc

DOCS = paths.ROOT / "docs"
PAGES = ["actctl.1", "libact.3", "libactc.3", "actd.conf.5", "actd-events.7", "actd-protocol.7",
         "actd-statistics.7", "actd.8"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root directory of an installation."""
    return installed.install(tmp_path_factory.mktemp("root"))


def test_pages_and_completions_are_installed(root):
    found = {str(path.relative_to(path.parents[1]))
             for path in root.rglob("man/man[1-8]/*") if path.is_file()}
    assert found == {f"man{page[-1]}/{page}" for page in PAGES}
    for command in ("actctl", "actd"):
        assert installed.find(root, f"bash-completion/completions/{command}").is_file()


# Examples of the libraries


def example(page):
    """(the program that the page shows, what it prints)"""
    text = (DOCS / f"{page}.scd").read_text().partition("# EXAMPLES")[2]
    program, output = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    return program.replace("\\\\", "\\"), output


def run(root, library, directory, *arguments):
    """What the example of the library's page prints."""
    source, program = directory / "example.c", directory / "example"
    source.write_text(example(f"{library}.3")[0])
    installed.compile_user(root, library, source, program,
                           *installed.pkg_config(root, library, "--libs"))
    return installed.run(root, library, program, *arguments)


def test_the_example_of_libact_does_what_the_page_says(root, tmp_path):
    assert run(root, "libact", tmp_path, tmp_path / "x.act") == example("libact.3")[1]


def test_the_example_of_libactc_does_what_the_page_says(root, actd, tmp_path):
    server = actd(paths.DOC / "a.act")
    assert run(root, "libactc", tmp_path, f"unix:{server.unix[1]}") == example("libactc.3")[1]


# The protocol

PROTOCOL = (DOCS / "actd-protocol.7.scd").read_text()


def documented_options():
    """{method: its options} of those that have some, but for hello."""
    methods = PROTOCOL.partition("# METHODS")[2].partition("## Options of methods")[0]
    result = {}
    for name, body in re.findall(r"^\*(\w+)\*\(.*\n((?:\t.*\n)+)", methods, re.M):
        match = re.search(r"^\tOptions[\w ,]*: (.*)", body, re.M)
        if match and name != "hello":
            result[name] = set(re.findall(r"\*(\w+)\*", match[1]))
    return result


def test_methods_have_the_options_that_the_page_says(cities):
    said = documented_options()
    lists = {"mget", "mscan", "longest_prefix", "prefixes"}
    with cities.client() as client:
        for method in client.call("hello")["methods"]:
            first = [b"x"] if method in lists else b"x"
            params = [first, b"y"] if method == "range" else [first]
            if method not in ("hello", "wait_generation"):
                with pytest.raises(rpc.RpcError) as failure:
                    client.call(method, *params, {"no such option": 1})
                assert failure.value.number == rpc.BAD_PARAMS
                found = re.search(r" has the options? (.*), and not", failure.value.text)
                options = set(re.split(r", | and ", found[1])) if found else None
                assert said.pop(method, None) == options, method
    assert said == {}


def test_the_bytes_of_the_example_are_the_real_ones(actd):
    text = PROTOCOL.partition("# EXAMPLES")[2]
    sent, wanted = (bytes.fromhex(line) for line in re.findall(
        r"^\[.*\]  +((?:[0-9a-f]{2} ?)+)$", text, re.M))
    with actd(paths.DOC / "a.act").client() as client:
        client.send(sent)
        assert client.message() == msgpack.unpackb(wanted)
        assert msgpack.packb(msgpack.unpackb(wanted)) == wanted
