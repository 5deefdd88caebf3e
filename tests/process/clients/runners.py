"""The programs of docs/clients.md: read them, point them at a daemon, run them."""

import functools
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lib import paths
from lib.waiting import Clock

TEXT = (paths.ROOT / "docs" / "clients.md").read_text()
UNIX, PORT = "/tmp/actd.sock", "7411"

# Where scripts/test puts what npm installs.
NPM = pathlib.Path(os.environ.get("ACTD_NPM", paths.ROOT / "build" / "npm"))
GO_PATH = pathlib.Path("/usr/share/gocode")


def section(title):
    match = re.search(rf"^##? {title}$(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert match, f"docs/clients.md has no section {title}"
    return match[1]


def block(title, language):
    """What stands between the fences; a section has one block of a language."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.M | re.S)
    assert len(blocks) == 1, f"docs/clients.md, {title}: {len(blocks)} blocks of {language}"
    return blocks[0]


def tcp_replacements(name):
    """[(what a program has for a Unix socket, for TCP)], from the table."""
    rows = re.findall(rf"^\| {name} \| `(.*)` \| `(.*)` \|$", section("In short"), re.M)
    assert rows, f"docs/clients.md does not tell how {name} uses TCP"
    return rows


def finish(argv, env, directory):
    """Runs it to its end: what it prints, on both of its streams."""
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env={**os.environ, **env}, cwd=directory,
                            timeout=Clock().left(str(argv[0])))
    output = result.stdout.decode(errors="surrogateescape")
    assert result.returncode == 0, (argv, result.returncode, output)
    return output


@functools.lru_cache(maxsize=None)
def does_fail(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0


class Client:
    """One that others made."""

    def __init__(self, name, language, *command, end=()):
        self.name = name
        self.language = language
        self.command = command
        self.arguments_after = end

    def __repr__(self):
        return self.name

    @property
    def program(self):
        return block(self.name, self.language)

    @property
    def shown(self):
        """What the document says that the program prints."""
        return block(self.name, "text")

    def with_lines(self, text):
        """The program with these lines in the place of its last paragraph, which uses the
        connection that the others make."""
        head, _, _ = self.program.rpartition("\n\n")
        return f"{head}\n\n{text}\n"

    def at(self, program, address):
        """The program as it reaches this address."""
        if address[0] == "unix":
            assert UNIX in program
            return program.replace(UNIX, address[1])
        for unix, tcp in tcp_replacements(self.name):
            assert unix in program, f"{self.name}: the program has no {unix}"
            program = program.replace(unix, tcp)
        assert UNIX not in program and PORT in program
        return program.replace(PORT, str(address[2]))

    def environment(self, directory):
        return {"HOME": str(directory)}

    def argv(self, source, directory):
        return [*self.command, source, *self.arguments_after]

    def run(self, program, address, directory):
        source = directory / f"program.{self.language}"
        source.write_text(self.at(program, address))
        argv = self.argv(source, directory)
        return finish(argv, self.environment(directory), directory)

    def use(self, text, address, directory):
        return self.run(self.with_lines(text), address, directory)

    def missing(self):
        """What is not installed; something false where nothing is missing."""
        return not shutil.which(self.command[0]) and self.command[0]


class Python(Client):
    def missing(self):
        command = [*self.command, "-c", "import pynvim.msgpack_rpc"]
        return super().missing() or does_fail(*command) and "python3-pynvim"


class Lua(Client):
    def missing(self):
        command = [*self.command, "-e", 'require "mpack" require "socket.unix"']
        return super().missing() or does_fail(*command) and "lua-mpack or lua-socket"


class Neovim(Client):
    def environment(self, directory):
        names = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"]
        return {**super().environment(directory), **{name: str(directory) for name in names}}

    def run(self, program, address, directory):
        """It ends lines as a terminal wants them, and the last one not at all."""
        return super().run(program, address, directory).replace("\r\n", "\n").strip("\n") + "\n"


class Go(Client):
    def environment(self, directory):
        return {**super().environment(directory), "GO111MODULE": "off", "GOPATH": str(GO_PATH),
                "GOFLAGS": "", "GOCACHE": str(paths.BUILD / "go-cache")}

    def argv(self, source, directory):
        """Compiled, so that what runs is no child of what is waited for."""
        program = directory / "program"
        finish([*self.command, "-o", program, source], self.environment(directory), directory)
        return [program]

    def missing(self):
        package = "github.com/ugorji/go/codec"
        return super().missing() or not (GO_PATH / "src" / package).is_dir() and package


class Node(Client):
    def environment(self, directory):
        return {**super().environment(directory), "NODE_PATH": str(NPM / "node_modules")}

    def missing(self):
        package = NPM / "node_modules" / "msgpack5rpc"
        return super().missing() or not package.is_dir() and f"{package} (scripts/test)"


PYNVIM = Python("pynvim", "python", "/usr/bin/python3")
LIBMPACK = Lua("libmpack", "lua", "lua5.1")
NEOVIM = Neovim("Neovim", "lua", "nvim", "--headless", "--clean", "-S", end=["+qall!"])
GO = Go("Go", "go", "go", "build")
MSGPACK5RPC = Node("msgpack5rpc", "js", "node")


def needs(client):
    if what := client.missing():
        pytest.skip(f"needs {what}")
