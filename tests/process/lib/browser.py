"""A page in headless Chromium, as Debian packages it, driven by playwright-core: browser/driver.js
is the other end of a pipe."""

import json
import os
import pathlib
import select
import shutil
import subprocess

import pytest

from clients.runners import NPM

from . import paths
from .waiting import DEADLINE_S, Clock, Deadline, eventually

DRIVER = paths.ROOT / "tests" / "process" / "browser" / "driver.js"

# Where pictures go.
ARTEFACTS = pathlib.Path(os.environ.get("ACTD_ARTEFACTS", paths.ROOT / "build" / "artefacts"))


def missing():
    """What is not installed; something false where nothing is missing."""
    for program in ("node", "chromium"):
        if not shutil.which(program):
            return program
    package = NPM / "node_modules" / "playwright-core"
    return not package.is_dir() and f"{package} (scripts/test)"


class BrowserError(Exception):
    """What was asked of the browser could not be done."""


class Browser:
    """with Browser() as browser: browser.open(url) gives a Page."""

    def __init__(self):
        if what := missing():
            pytest.skip(f"needs {what}")

    def __enter__(self):
        # Chromium's sandbox does not work for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            ["node", DRIVER, shutil.which("chromium"), str(DEADLINE_S * 1000), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(NPM / "node_modules")},
        )
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(Clock().left("the browser's end"))
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def _line(self, what):
        line = b""
        clock = Clock(DEADLINE_S + 10)  # the driver's own deadline tells more
        while not line.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], clock.left(what))[0]:
                raise Deadline(f"waited too long for {what}")
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            if not chunk:
                raise BrowserError(f"the browser's driver ended with {what}")
            line += chunk
        return line

    def do(self, what, **options):
        self.process.stdin.write(json.dumps({"do": what, **options}).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self._line(f"{what}, {options}"))
        if "error" in answer:
            raise BrowserError(f"{what}, {options}: {answer['error']}")
        return answer["result"]

    def open(self, url=None, *, width=1280, height=900, scheme="light", motion="no-preference"):
        options = {"width": width, "height": height, "scheme": scheme, "motion": motion}
        return Page(self, self.do("open", url=url, **options))


class Page:
    """with browser.open(url) as page: at the end nobody may have complained."""

    def __init__(self, browser, number):
        self.browser = browser
        self.number = number
        self.may_complain = False  # about a server that is away

    def do(self, what, **options):
        return self.browser.do(what, page=self.number, **options)

    def go(self, url):
        self.do("go", url=url)

    def answer(self, path, json_or_none):
        """What the page is told at this path, instead of what the server says."""
        self.do("answer", path=path, json=json_or_none)

    def evaluate(self, script):
        return self.do("evaluate", script=script)

    def wait(self, script):
        """Until the script's value is true: that value."""
        return eventually(lambda: self.evaluate(script), script)

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def wait_text(self, selector, text):
        """Until it is in the element's text."""
        element = f"document.querySelector({json.dumps(selector)})"
        return self.wait(f"{element}?.textContent.includes({json.dumps(text)})")

    def wait_polls(self, n=1):
        """Until it has asked n times more, and shows what it was told."""
        before = self.evaluate("actd.state.polls")
        self.wait(f"actd.state.polls >= {before + n}")

    def press(self, key):
        self.do("press", key=key)

    def screenshot(self, name):
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.do("screenshot", path=str(path))
        return path

    def accessibility(self):
        return self.do("accessibility")

    def seen(self):
        return self.do("seen")

    def check(self):
        """Nothing went wrong, and nobody else was asked for anything."""
        seen = self.seen()
        assert not seen["errors"], seen["errors"]
        origin = self.evaluate("location.origin")
        others = [url for url in seen["requests"] if not url.startswith((f"{origin}/", "data:"))]
        assert not others, others
        told = [told for told in seen["told"] if told[0] in ("error", "warning", "assert")]
        if self.may_complain:
            told = [(kind, text) for kind, text in told if "net::ERR_" not in text]
        assert not told, told

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check()
        finally:
            self.do("close")
