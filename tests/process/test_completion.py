"""The completions, in a real bash on a terminal: what stands on the line after the tab key."""

import contextlib
import os
import pty
import select
import subprocess

import pytest

from lib import actctl, daemon, paths
from lib.waiting import Clock

FILES = {"actctl": paths.ROOT / "client" / "completion" / "actctl",
         "actd": paths.ROOT / "daemon" / "completion" / "actd"}
END = "the line is over"


class Shell:
    """An interactive bash that has read both completions, and in which the commands print what
    they were given."""

    def __init__(self, directory, *settings):
        self.terminal, terminal = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "LC_ALL": "C.UTF-8",
                       "HOME": str(directory)}
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"], cwd=directory,
            env=environment, stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True)
        os.close(terminal)
        self.text = b""
        told = f"{{ printf '<%s>' \"$@\"; echo; echo '{END}'; }}"
        lines = ["set -o emacs", "bind 'set enable-bracketed-paste off' 'set bell-style none'",
                 "PS1=", *settings, *(f". {path}" for path in FILES.values()),
                 *(f"{command}() {told}" for command in FILES)]
        for line in lines:
            self.send(line + "\n")

    def send(self, text):
        os.write(self.terminal, text.encode())

    def complete(self, line):
        """The words that the command gets for this line, a tab and a newline."""
        self.text = b""
        self.send(f"{line}\t\n")
        clock = Clock()
        end = f"\n{END}".encode()
        while end not in self.text.replace(b"\r", b""):
            ready, _, _ = select.select([self.terminal], [], [], clock.left(f"bash: {self.text}"))
            self.text += os.read(self.terminal, 65536) if ready else b""
        lines = self.text.decode().replace("\r", "").split("\n")
        told = lines[lines.index(END) - 1]
        return told[told.index("<") + 1 : -1].split("><")

    def close(self):
        os.close(self.terminal)
        self.process.wait(Clock().left("bash ends with its terminal"))


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / "cities.act").touch()
    (tmp_path / "a file.act").touch()
    return tmp_path


@contextlib.contextmanager
def running(directory, *settings):
    shell = Shell(directory, *settings)
    try:
        yield shell
    finally:
        shell.close()


@pytest.fixture
def shell(directory):
    with running(directory) as bash:
        yield bash


@pytest.mark.parametrize("line, words", [
    ("actctl ver", ["verify"]),
    ("actctl longest", ["longest-prefix"]),
    ("actctl verify tr", ["verify", "trees/"]),
    ("actctl verify trees/", ["verify", "trees/cities.act"]),
    ("actctl verify a", ["verify", "a file.act"]),
    ("actctl warm --mo", ["warm", "--mode="]),
    ("actctl warm --mode=t", ["warm", "--mode=traverse"]),
    ("actctl warm --mode t", ["warm", "--mode", "traverse"]),
    ("actctl --mode=r wa", ["--mode=r", "warm"]),
    ("actctl warm --profile=tre", ["warm", "--profile=trees/"]),
    ("actctl -f trees/c", ["-f", "trees/cities.act"]),
    ("actctl get tr", ["get", "tr"]),
    ("actctl get -- --js", ["get", "--", "--js"]),
    ("actctl get --js", ["get", "--json"]),
    ("actctl get --json --js", ["get", "--json", "--js"]),
    ("actctl build --dup", ["build", "--duplicates="]),
    ("actctl build --duplicates=fi", ["build", "--duplicates=first"]),
    ("actctl get --dup", ["get", "--dup"]),
    ("actctl --server=t", ["--server=tcp:"]),
    ("actctl -s unix:tre", ["-s", "unix:trees/"]),
    ("actctl --admin=unix:trees/c", ["--admin=unix:trees/cities.act"]),
    ("actctl reload --admin=t", ["reload", "--admin=t"]),
    ("true; actctl dum", ["dump"]),
    ("actd --check", ["--check-config"]),
    ("actd --set tree.pa", ["--set", "tree.path="]),
    ("actd --set tree.path=tr", ["--set", "tree.path=trees/"]),
    ("actd --set=warmup.mode=res", ["--set=warmup.mode=restore"]),
    ("actd -s log.level=w", ["-s", "log.level=warning"]),
    ("actd -s daemon.workers=a", ["-s", "daemon.workers=auto"]),
    ("actd -s no.such=a", ["-s", "no.such=a"]),
    ("actd --config=tre", ["--config=trees/"]),
    ("actd -c trees/c", ["-c", "trees/cities.act"]),
])
def test_a_word_that_can_be_only_one_is_completed(shell, line, words):
    assert shell.complete(line) == words


def test_breaks_of_words_are_as_the_user_has_them(directory):
    with running(directory, "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}") as shell:
        assert shell.complete("actctl -s unix:trees/c") == ["-s", "unix:trees/cities.act"]
        assert shell.complete("actctl --server=unix:trees/c") == ["--server=unix:trees/cities.act"]


def test_names_of_files_are_not_run(directory):
    for name in ("$(touch run)", "`touch run`x"):
        (directory / name).touch()
    with running(directory) as shell:
        assert shell.complete("actctl verify \\$") == ["verify", "$(touch run)"]
        assert shell.complete("actctl -s unix:\\$") == ["-s", "unix:$(touch run)"]
        assert shell.complete("actctl verify \\`") == ["verify", "`touch run`x"]
    assert not (directory / "run").exists()


def offers(file, function, *words):
    """All that is offered for the last of the words, in one line; `=` and `:` are words too."""
    script = ('. "$1"; shift; function=$1; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              'COMP_LINE="$*"; COMP_LINE=${COMP_LINE// = /=}; COMP_POINT=${#COMP_LINE}; '
              '"$function"; printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["bash", "-uc", script, "bash", file, function, *words],
                            capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return set(result.stdout.split())


def test_every_command_of_actctl_is_offered():
    commands = set()
    for line in actctl.output("--help").decode().partition("Options:")[0].splitlines()[3:]:
        commands |= {line.split()[0]} if line.startswith("  ") else set()
    assert len(commands) > 20
    assert offers(FILES["actctl"], "_actctl", "actctl", "") == commands
    keys_only = offers(FILES["actctl"], "_actctl", "actctl", "--keys-only", "")
    assert keys_only == {"build", "dump", "scan", "range"}


def test_every_option_of_actd_is_offered():
    options = set()
    for line in daemon.run("--print-defaults").stdout.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("#") and " =" in line and line[1] != " ":
            options.add(f"{section}.{line[1:].split(' =')[0]}=")
    assert len(options) > 50
    assert offers(FILES["actd"], "_actd", "actd", "--set", "") == options
    assert offers(FILES["actd"], "_actd", "actd", "--set", "tree.verify", "=", "") == {
        "header", "structure", "digest"}


@pytest.mark.parametrize("command", FILES)
def test_bash_knows_who_completes_the_command(command):
    script = f'. "$1"; complete -p {command}'
    result = subprocess.run(["bash", "-c", script, "bash", FILES[command]], capture_output=True,
                            text=True, check=True)
    assert result.stdout == f"complete -F _{command} {command}\n" and result.stderr == ""
