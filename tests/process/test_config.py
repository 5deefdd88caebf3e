"""The configuration: every option, every kind of mistake, and the line that it is on."""

import re

import pytest

from lib import paths, rpc
from lib.daemon import run

NUMBERS = {
    # name: least, most
    "tree.table_cache_bytes": (0, 4 << 30),
    "tree.check_timeout_ms": (100, 24 * 3600000),
    "tree.settle_ms": (10, 3600000),
    "tree.max_resident_bytes": (0, 1 << 50),
    "tree.map_min_bytes": (0, 1 << 40),
    "listen.backlog": (1, 65535),
    "daemon.workers": (1, 256),
    "daemon.heartbeat_timeout_ms": (500, 3600000),
    "daemon.busy_poll_us": (0, 1000000),
    "cold.threads": (1, 256),
    "cold.queue": (1, 1000000),
    "cold.timeout_ms": (100, 3600000),
    "limits.max_connections": (1, 1000000),
    "limits.max_request_bytes": (64, 64 << 20),
    "limits.max_reply_bytes": (1 << 10, 1 << 30),
    "limits.max_keys": (1, 1000000),
    "limits.max_key_bytes": (1, 64 << 20),
    "limits.max_visited_nodes": (1, 10**15),
    "limits.max_sliced_requests": (1, 10000),
    "limits.max_buffer_bytes": (1 << 20, 1 << 40),
    "limits.high_water_bytes": (1 << 10, 1 << 30),
    "limits.turn_requests": (1, 1000000),
    "limits.idle_timeout_ms": (0, 24 * 3600000),
    "limits.frame_timeout_ms": (100, 3600000),
    "limits.write_timeout_ms": (100, 3600000),
    "limits.linger_timeout_ms": (0, 3600000),
    "limits.drain_timeout_ms": (0, 3600000),
    "limits.max_wait_ms": (0, 24 * 3600000),
    "admin.max_connections": (1, 1000),
    "admin.timeout_ms": (1000, 3600000),
    "admin.slow_ms": (0, 3600000),
    "warmup.rate_bytes_per_s": (0, 1 << 40),
    "warmup.max_bytes": (4096, 1 << 50),
    "warmup.profile_interval_ms": (1000, 24 * 3600000),
}
PATHS = ["tree.path", "warmup.profile", "admin.token_file"]
MODES = ["listen.unix_mode", "admin.unix_mode"]
CHOICES = {
    "tree.verify": ["header", "structure", "digest"],
    "tree.watch": ["no", "yes"],
    "tree.advice": ["random", "normal", "sequential"],
    "tree.mlock": ["no", "top", "yes", "onfault"],
    "tree.hugepages": ["no", "copy"],
    "cold.mode": ["offload", "inline"],
    "cold.probe": ["auto", "mincore", "nowait", "none"],
    "log.level": ["error", "warning", "info", "debug"],
    "warmup.mode": ["none", "willneed", "read", "traverse", "restore"],
    "warmup.ready": ["before", "after"],
}
TCP = ["listen.tcp", "admin.tcp"]
UNIX = ["listen.unix", "admin.unix"]
HOSTS = ["admin.host"]
ALL = [*PATHS, *NUMBERS, *MODES, *CHOICES, *TCP, *UNIX, *HOSTS]

BAD_NUMBERS = ["", "x", "-1", "+1", " ", "1x", "0x10", "1.5", "1e3", "99999999999999999999999"]
BAD_MODES = ["", "rw", "0888", "-1", "01000", "1777", "00660x", "0660 ", "06600"]
BAD_TCP = [
    "74110",
    ":",
    "127.0.0.1",
    "127.0.0.1:",
    ":74110",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:http",
    "::1:7411",
    "[::1]",
    "[]:7411",
    "[::1:7411",
    "no such host:1",
]

GOOD_TCP = ["127.0.0.1:0", "[::1]:65535", "7411", ":7411", ""]

BAD_HOSTS = ["a b", "a:80", "[::1]", "a/b", "a,b", "*", "h\u00f6st"]


def is_in_bytes(name):
    return name.endswith(("_bytes", "_bytes_per_s"))


def bad_values():
    for name, (least, most) in NUMBERS.items():
        bad = [*BAD_NUMBERS, str(most + 1)]
        bad += [str(least - 1)] if least > 0 else []
        bad += ["1KB", "1k", "1KK", "99999999T"] if is_in_bytes(name) else ["1K"]
        yield from ((name, value) for value in bad)
    yield from ((name, value) for name in MODES for value in BAD_MODES)
    yield from ((name, value) for name in CHOICES for value in ["", "x", "INFO", "none ", "0", "1"])
    yield from ((name, value) for name in TCP for value in BAD_TCP)
    yield from ((name, "/" + "x" * 107) for name in UNIX)
    yield from ((name, "") for name in PATHS)
    yield from ((name, value) for name in HOSTS for value in BAD_HOSTS)


def good_values():
    for name, (least, most) in NUMBERS.items():
        if name not in ("limits.max_request_bytes", "limits.max_buffer_bytes"):
            yield from ((name, str(value)) for value in {least, most, (least + most) // 2})
    yield from ((name, value) for name in MODES for value in ["0", "0777", "660", "0600"])
    yield from ((name, value) for name, choices in CHOICES.items() for value in choices)
    yield from ((name, "/" + "x" * 106) for name in UNIX)
    yield from ((name, value) for name in TCP for value in GOOD_TCP)
    yield from ((name, value) for name in HOSTS for value in ["a", "A-b_c.example", "x" * 150, ""])
    yield ("limits.max_buffer_bytes", "1T")
    yield ("limits.high_water_bytes", "512K")
    yield ("limits.max_request_bytes", "64")


def test_the_tables_here_name_every_option():
    defaults = run("--print-defaults").stdout
    names, section = set(), None
    for line in defaults.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("#") and not line.startswith("# "):
            names.add(f"{section}.{line[1:].split(' =')[0]}")
    assert names == set(ALL)


@pytest.fixture
def config(tmp_path):
    """config(text): writes a configuration file; its path."""

    def write(text, name="actd.conf"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def check(path, *more):
    return run("--check-config", f"--config={path}", "--set=tree.path=x.act", *more)


def is_right(path, *more):
    result = check(path, *more)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "actd: the configuration is right\n"
    return True


def error_of(path, *more):
    """What is said of a configuration that is wrong: one line, which names the file and line."""
    result = check(path, *more)
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert result.stderr.startswith("actd: ") and result.stderr.count("\n") == 1
    return result.stderr[len("actd: ") : -1]


def as_file(name, value):
    section, key = name.split(".")
    return f"# a comment\n[{section}]\n\n{key} = {value}\n"


# The file of defaults.


def test_the_installed_configuration_is_the_defaults():
    assert (paths.ROOT / "conf" / "actd.conf").read_text() == run("--print-defaults").stdout


def test_the_defaults_are_right_as_they_stand_and_without_their_comment_signs(config):
    text = run("--print-defaults").stdout
    assert is_right(config(text))
    text = re.sub(r"^#(?! )", "", text, flags=re.M).replace("path =\n", "")
    text = text.replace("profile =\n", "").replace("token_file =\n", "")
    assert "max_keys = 10000" in text.split("\n")
    assert is_right(config(text))


def test_no_line_of_the_defaults_is_too_long():
    assert max(map(len, run("--print-defaults").stdout.split("\n"))) <= 100


# Values.


@pytest.mark.parametrize("name", ALL)
def test_bad_values_are_refused_with_file_line_and_option(config, name):
    for option, value in bad_values():
        if option != name:
            continue
        if value.strip() == value:
            path = config(as_file(name, value))
            error = error_of(path)
            assert error.startswith(f"{path}:4: {name}: "), (value, error)
        error = error_of("/dev/null", f"--set={name}={value}")
        assert error.startswith(f"--set {name}={value}: "), (value, error)


def test_there_are_bad_values_for_every_option_that_can_have_one():
    assert {name for name, _ in bad_values()} == set(ALL)


@pytest.mark.parametrize("name,value", good_values(), ids=lambda value: value[:30])
def test_good_values_are_taken(config, name, value):
    more = ["--set=warmup.profile=x"] if value == "restore" else []
    assert is_right(config(as_file(name, value)), *more)
    assert is_right("/dev/null", f"--set={name}={value}", *more)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_as_long_as_the_kernel_takes_it(name):
    assert is_right("/dev/null", f"--set={name}={'x' * 4095}")
    assert run("--check-config", f"--set={name}={'x' * 4096}").returncode == 2


def test_sixteen_addresses_are_taken_and_no_more(config):
    for name in TCP:
        section, key = name.split(".")
        text = f"[{section}]\n" + "".join(f"{key} = 127.0.0.1:{i}\n" for i in range(16))
        assert is_right(config(text))
        error = error_of(config(text + f"{key} = 127.0.0.1:99\n"))
        assert ":18: " in error and "more than 16 addresses" in error


def test_suffixes_of_bytes_multiply_by_1024(actd):
    daemon = actd(settings={"limits.max_request_bytes": "2K", "limits.max_reply_bytes": "3M"})
    with daemon.client() as client:
        limits = client.call("hello")["limits"]
        assert limits["max_request_bytes"] == 2048
        assert limits["max_reply_bytes"] == 3 << 20


def test_options_that_do_not_fit_together_are_refused():
    error = error_of("/dev/null", "--set=limits.max_buffer_bytes=1M")
    assert "limits.max_buffer_bytes (1048576)" in error
    assert "limits.max_request_bytes (1048576)" in error


def test_hosts_are_sixteen_and_short():
    hosts = [f"--set=admin.host=host{i}" for i in range(17)]
    assert is_right("/dev/null", *hosts[:16])
    assert is_right("/dev/null", *hosts[:16], "--set=admin.host=", *hosts[:16])
    assert "more than 16 names" in error_of("/dev/null", *hosts)
    assert is_right("/dev/null", f"--set=admin.host={'x' * 255}")
    assert "not the name of a host" in error_of("/dev/null", f"--set=admin.host={'x' * 256}")


def test_restoring_without_a_profile_is_refused():
    error = error_of("/dev/null", "--set=warmup.mode=restore")
    assert error.startswith("warmup.mode = restore needs warmup.profile: ")
    assert is_right("/dev/null", "--set=warmup.mode=restore", "--set=warmup.profile=x")


def test_the_tree_is_no_place_for_the_profile():
    error = error_of("/dev/null", "--set=tree.path=x", "--set=warmup.profile=x")
    assert error.startswith("warmup.profile is tree.path: ")


def test_without_a_tree_in_the_configuration_it_is_that_of_the_service(tmp_path):
    assert "#path = /var/lib/actd/tree.act\n" in run("--print-defaults").stdout
    assert run("--check-config", "--config=/dev/null").returncode == 0
    result = run("--config=/dev/null", f"--set=listen.unix={tmp_path}/actd.sock")
    assert result.returncode == 1
    assert (
        "/var/lib/actd/tree.act: cannot open: No such file or directory: put a file there, or "
        "correct tree.path" in result.stderr
    )


# Lines.


@pytest.mark.parametrize(
    "text,line,reason",
    [
        ("[nonsense]\nkey = 1\n", 2, "unknown option nonsense.key"),
        ("[tree]\npth = x\n", 2, "unknown option tree.pth"),
        ("[Tree]\npath = x\n", 2, "unknown option Tree.path"),
        ("[tree]\nPATH = x\n", 2, "unknown option tree.PATH"),
        ("[listen]\npath = x\n", 2, "unknown option listen.path"),
        ("path = x\n", 1, "path stands before the first [section]"),
        ("\n\n  path = x\n[tree]\n", 3, "path stands before the first [section]"),
        ("[tree]\npath\n", 2, 'neither "[section]" nor "key = value"'),
        ("[tree\npath = x\n", 1, 'neither "[section]" nor "key = value"'),
        ("[tree]\n\nnonsense without sign\n", 3, 'neither "[section]" nor "key = value"'),
        ("[tree]\npath = x ; a comment\n", 2, '" ;" inside a line'),
        ("[log]\nlevel = info ;\n", 2, '" ;" inside a line'),
        ("[tree]\npath = x\t;y\n", 2, '" ;" inside a line'),
        ("[tree]\npath = " + "x" * 200 + "\n", 2, "longer than the 199 bytes"),
        ("[tree]\n" + " " * 20 + "path = " + "x" * 200 + "\n", 2, "longer than the 199 bytes"),
        ("# " + "x" * 300 + "\n", 1, "longer than the 199 bytes"),
        ("[tree]\npath = " + "x" * 100000, 2, "longer than the 199 bytes"),
        (b"[tree]\npath = a\0b\n", 2, "NUL byte"),
        (b"\0", 1, "NUL byte"),
        ("[limits]\nmax_keys = 1\n  2\n", 3, 'neither "[section]" nor "key = value"'),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_bad_line_is_refused_with_its_number(config, text, line, reason):
    path = config(text)
    error = error_of(path)
    assert error.startswith(f"{path}:{line}: "), error
    assert reason in error


def test_the_longest_line_is_read_whole(config, actd, tmp_path):
    """198 bytes and the newline."""
    name = "x" * (198 - len("path = ") - len(str(tmp_path)) - 1)
    tree = tmp_path / name
    tree.write_bytes(paths.SHAKESPEARE.read_bytes())
    line = f"path = {tree}"
    assert len(line) == 198
    path = config(f"[tree]\n{line}\n")
    result = run(f"--config={path}", "--set=listen.unix=/nonexistent/actd.sock")
    assert result.returncode == 1
    assert "x.act" not in result.stderr and "unix:/nonexistent/actd.sock" in result.stderr
    assert "longer than" in error_of(config(f"[tree]\n{line}x\n"))


def test_indented_lines_and_comments_of_both_kinds_are_read(config):
    text = "; one\n# two\n  ; three\n\t# four ; five\n  [log]\n\tlevel = info\n   level=debug\n"
    assert is_right(config(text))


def test_a_file_without_a_last_newline_is_read(config):
    assert "log.level" in error_of(config("[log]\nlevel = nonsense"))


def test_windows_line_ends_are_read(config):
    assert is_right(config("[log]\r\nlevel = info\r\n"))


def test_the_first_of_several_mistakes_is_told(config):
    error = error_of(config("[log]\nlevel = x\nlevel = y\nz\n"))
    assert ":2: " in error


@pytest.mark.parametrize("path", ["/nonexistent/actd.conf", "/"])
def test_a_file_that_cannot_be_read_is_named(path):
    assert error_of(path).startswith(f"{path}:")


# Where values come from.


def test_drop_ins_are_read_in_the_order_of_their_names(config, actd):
    path = config("[limits]\nmax_keys = 1\nmax_reply_bytes = 1K\n")
    config("[limits]\nmax_keys = 3\n", "actd.conf.d/20.conf")
    config("[limits]\nmax_keys = 2\n", "actd.conf.d/10.conf")
    config("nonsense", "actd.conf.d/30.conf.off")
    config("nonsense", "actd.conf.d/.40.conf")
    config("nonsense", "actd.conf.d/.conf")
    daemon = actd(config=path)
    with daemon.client() as client:
        limits = client.call("hello")["limits"]
    assert limits["max_keys"] == 3
    assert limits["max_reply_bytes"] == 1024


def test_a_mistake_in_a_drop_in_names_the_drop_in(config):
    path = config("[limits]\nmax_keys = 1\n")
    config("[limits]\n\nmax_keys = x\n", "actd.conf.d/10.conf")
    error = error_of(path)
    assert error.startswith(f"{path}.d/10.conf:3: limits.max_keys: ")


def test_sections_of_one_file_do_not_reach_into_the_next(config):
    path = config("[limits]\n")
    config("max_keys = 1\n", "actd.conf.d/10.conf")
    assert "before the first [section]" in error_of(path)


def test_set_comes_after_all_files_and_the_last_one_holds(config, actd):
    path = config("[limits]\nmax_keys = 1\n")
    config("[limits]\nmax_keys = 2\n", "actd.conf.d/10.conf")
    daemon = actd(settings={"limits.max_keys": ["3", "4"]}, config=path)
    with daemon.client() as client:
        assert client.call("hello")["limits"]["max_keys"] == 4


def test_addresses_add_up_and_an_empty_value_forgets_those_before(config, actd, tmp_path):
    path = config(f"[listen]\nunix = {tmp_path}/a.sock\nunix = {tmp_path}/b.sock\n")
    daemon = actd(settings={"listen.unix": [f"{tmp_path}/c.sock"]}, config=path)
    assert all((tmp_path / name).is_socket() for name in ("a.sock", "b.sock", "c.sock"))
    daemon.stop()
    config(f"[listen]\nunix =\nunix = {tmp_path}/c.sock\n", "actd.conf.d/10.conf")
    daemon = actd(settings={"listen.unix": f"{tmp_path}/d.sock"}, config=path)
    found = {name for name in "abcd" if (tmp_path / f"{name}.sock").is_socket()}
    assert found == {"c", "d"}
    daemon.stop()
    daemon = actd(settings={"listen.unix": ["", f"{tmp_path}/d.sock"]}, config=path)
    found = {name for name in "abcd" if (tmp_path / f"{name}.sock").is_socket()}
    assert found == {"d"}
    with rpc.Client(("unix", f"{tmp_path}/d.sock")) as client:
        assert client.is_usable()


def test_the_log_level_decides_what_is_logged(actd):
    daemon = actd(settings={"log.level": "error", "listen.tcp": None, "admin.tcp": None}, wait=None)
    daemon.wait_socket()
    with daemon.client() as client:
        client.send(b"\xc1")
        assert client.at_end()
    daemon.stop()
    assert daemon.log == ""


# The command line.


@pytest.mark.parametrize(
    "assignment", ["", "x", "tree.path", "treepath=x", "=x", ".=x", "x" * 100 + ".y=1", "tree.=x"]
)
def test_a_bad_set_is_refused(assignment):
    error = error_of("/dev/null", f"--set={assignment}")
    assert error.startswith(f"--set {assignment}: ")


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["-x"], ["--config"], ["--set"], ["file.act"], ["--help=1"], ["--", "file"]],
    ids=" ".join,
)
def test_wrong_usage_ends_with_status_2_and_a_hint(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_names_every_option(argument):
    result = run(argument)
    assert (result.returncode, result.stderr) == (0, "")
    for option in ("--config", "--set", "--check-config", "--print-defaults", "--version"):
        assert option in result.stdout
    assert max(map(len, result.stdout.split("\n"))) <= 100


@pytest.mark.parametrize("argument", ["--version", "-V"])
def test_version_is_one_line(argument):
    result = run(argument)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("actd ") and result.stdout.count("\n") == 1
