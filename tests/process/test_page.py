"""The page at / of the admin endpoint, in headless Chromium.

Pictures of it (light, dark, narrow) go to ACTD_ARTEFACTS, or to build/artefacts."""

import base64
import hashlib
import json
import random
import re
import signal

import pytest

from lib import cold, http, paths
from lib.browser import Browser
from lib.cgroup import MemoryLimit
from lib.slow_disk import SlowDisk
from lib.waiting import eventually

IS_THERE = "window.actd?.state.stats && window.actd.state.delta"


@pytest.fixture(scope="module")
def browser():
    with Browser() as started:
        yield started


def url_of(daemon):
    return f"http://127.0.0.1:{daemon.admin_tcp[2]}/"


@pytest.fixture
def page(browser, cities):
    """With numbers in it."""
    with browser.open(url_of(cities)) as opened:
        opened.wait(IS_THERE)
        yield opened


def ask(daemon, n):
    with daemon.client() as client:
        client.results([["get", b"no such key %d" % i] for i in range(n)])


# What is served


def test_nothing_but_what_is_in_it_may_run(cities):
    status, headers, text = http.fetch(cities.admin_tcp, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"

    def allowed(tag):
        (found,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
        return [f"'sha256-{digest}'"]

    policy = dict((name, rest) for name, *rest in
                  (part.split() for part in headers["Content-Security-Policy"].split(";")))
    assert policy == {
        "default-src": ["'none'"], "connect-src": ["'self'"], "img-src": ["data:"],
        "script-src": allowed("script"), "style-src": allowed("style"), "base-uri": ["'none'"],
        "form-action": ["'none'"], "frame-ancestors": ["'none'"],
    }


def test_it_fetches_nothing(cities):
    _, _, text = http.fetch(cities.admin_unix, "/")
    named = re.findall(r'\b(?:src|href|action)="([^"]*)"', text)
    assert sorted(name for name in named if not name.startswith("data:")) == [
        "#main", "metrics", "residency", "slow", "stats"
    ]
    assert not re.findall(r"@import|url\(|innerHTML|outerHTML|insertAdjacent|\beval\(|Function\(",
                          text)
    assert not re.findall(r"<form|<button|<input|POST", text)


def test_head_and_other_methods(cities):
    status, headers, text = http.fetch(cities.admin_unix, "/", "HEAD")
    assert (status, text) == (200, "") and int(headers["Content-Length"]) > 10000
    status, headers, _ = http.fetch(cities.admin_unix, "/", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


# What it shows


def row_of(page, method):
    """The cells of a method, once it has some."""
    script = f"""[...document.querySelectorAll('#methods tbody tr')]
        .map((row) => [...row.cells].map((cell) => cell.textContent))
        .find((cells) => cells[0] === {json.dumps(method)})"""
    return page.wait(script)


def count_of(text):
    return int(text.replace(",", ""))


def test_numbers_change_while_queries_are_made(browser, actd):
    daemon = actd(settings={"daemon.workers": 3})
    with browser.open(url_of(daemon)) as page:
        page.wait(IS_THERE)
        assert page.text("#methods tbody") == "No requests yet."
        assert page.text("#state-text") == "Ready"
        assert page.text("#serving") == "3 of 3"
        assert page.text("#generation") == "1"
        ask(daemon, 1000)
        page.wait("document.querySelector('#methods tbody th')?.textContent === 'get'")
        eventually(lambda: count_of(row_of(page, "get")[2]) == 1000, "1000 requests")
        page.wait("document.querySelector('.chart .first').getAttribute('d').includes('L')")
        # In the window of the sentence, so at some rate, and until it has gone by.
        page.wait("/^The working set fits: .* faults a request\\.$/.test("
                  "document.querySelector('#sentence').textContent)")
        assert row_of(page, "get")[1] != "0"
        page.wait("document.querySelector('#sentence').dataset.kind === 'idle'")
        assert row_of(page, "get")[1] == "0"
        ask(daemon, 234)
        eventually(lambda: count_of(row_of(page, "get")[2]) == 1234, "1234 requests")


def test_it_shows_what_stats_tells(page, cities):
    ask(cities, 100)
    page.wait_polls(2)
    stats = page.evaluate("actd.state.stats")
    rows = page.evaluate("""[...document.querySelectorAll('#workers tbody tr')]
        .map((row) => [...row.cells].map((cell) => cell.textContent))""")
    assert [int(row[1]) for row in rows] == [worker["pid"] for worker in stats["workers"]]
    assert sorted(int(row[1]) for row in rows) == sorted(cities.worker_pids())
    assert [count_of(row[7]) for row in rows] == [w["faults"]["minor"] for w in stats["workers"]]
    assert page.text("#version") == stats["version"]
    assert page.text("#path") == str(paths.CITIES)
    assert page.text("#mapped") == "2.2 MiB"
    assert page.text("#reloads") == "1"
    assert page.text("#warmup-text") == "Nothing is warmed up"
    assert page.text("#refusal") == page.text("#damage") == "none"


def test_text_from_the_server_stays_text(browser, actd, tmp_path):
    """The path is in the refusal."""
    tree = tmp_path / "<img src=x onerror=alert(1)><b>.act"
    tree.write_bytes(paths.CITIES.read_bytes())
    daemon = actd(tree)
    bad = tmp_path / "bad"
    bad.write_bytes(b"<script>")
    with browser.open(url_of(daemon)) as page:
        page.wait(IS_THERE)
        page.wait("document.querySelector('#maps canvas')")
        elements = page.evaluate("document.querySelectorAll('img, b, script').length")
        bad.rename(tree)
        daemon.send_signal(signal.SIGHUP)
        page.wait_text("#refusal", "<img src=x onerror=alert(1)><b>.act")
        assert page.text("#refused") != "0"
        assert page.evaluate("document.querySelectorAll('img, b, script').length") == elements


BAD_WORDS = re.compile(r"NaN|undefined|null|Infinity|\[object|NaN")
WHOLE_TEXT = """[document.body.innerText, ...[...document.querySelectorAll('[aria-label]')]
    .map((element) => element.getAttribute('aria-label'))].join('\\n')"""


def without_values(value):
    """The same with null wherever there is a number or a text."""
    if isinstance(value, dict):
        return {name: without_values(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_values(part) for part in value]
    return None


@pytest.mark.parametrize("change", [
    without_values,
    lambda stats: {},
    lambda stats: {name: None for name in stats},
    lambda stats: {name: [] for name in stats},
    lambda stats: {name: "odd" for name in stats},
    lambda stats: {**stats, "workers": [{}, None], "methods": {"get": {"requests": 1}, "x": None}},
], ids=["null", "empty", "null groups", "lists", "texts", "odd parts"])
def test_what_is_unknown_is_a_dash(page, cities, change):
    page.answer("/stats", change(cities.stats()))
    page.answer("/residency", {"page_bytes": None, "generations": [{"number": 1}, None, {}]})
    page.answer("/slow", {"requests": [{}]})
    page.wait_polls(3)
    text = page.evaluate(WHOLE_TEXT)
    assert not BAD_WORDS.search(text), text
    assert text.count("–") > 10
    page.answer("/stats", None)
    page.wait("document.querySelector('#generation').textContent === '1'")


# The sentence

FITS = {"seconds": 10, "requests": 1000, "minor": 300, "major": 0, "coldMajor": 0, "pagesRead": 0,
        "pagesGone": 0, "refaults": 0}


@pytest.fixture(scope="module")
def speaker(browser, cities):
    """Shared, since nothing is changed in it."""
    with browser.open(url_of(cities)) as opened:
        opened.wait("window.actd?.sentence !== undefined")
        yield opened


def said(page, delta=None, **options):
    known = {"delta": delta if delta is None else {**FITS, **delta}, "sizeBytes": 1000,
             "residentBytes": 430, "isAllResident": True, "warmup": {"state": "off"}, **options}
    return page.evaluate(f"actd.sentence({json.dumps(known)})")


@pytest.mark.parametrize("delta, options, kind, text", [
    ({}, {}, "fits", "The working set fits: 0.3 faults a request."),
    ({"minor": 0}, {}, "fits", "The working set fits: 0.0 faults a request."),
    ({"minor": 3}, {}, "fits", "The working set fits: fewer than 0.1 faults a request."),
    ({"minor": 40000}, {}, "fits", "The working set fits: 40 faults a request."),
    ({"minor": None}, {}, "fits", "The working set fits."),
    ({"requests": 0}, {}, "idle",
     "Nothing is asked at the moment: 43 % of the file is in memory."),
    ({"requests": None}, {"residentBytes": None}, "idle", "Nothing is asked at the moment."),
    ({"requests": 0}, {"isAllResident": False}, "idle",
     "Nothing is asked at the moment: 43 % of the file was touched."),
    (None, {}, "waiting", "Watching. The first numbers come in a moment."),
    ({"seconds": 1.9}, {}, "waiting", "Watching. The first numbers come in a moment."),
    ({}, {"sizeBytes": None}, "none", "No file is served."),
    ({}, {"sizeBytes": 0}, "none", "No file is served."),
    # Refaults, and how many of them are many.
    ({"refaults": 4120, "pagesRead": 5000}, {}, "too-large",
     "The file does not fit: 412 refaults a second."),
    ({"refaults": 4120, "pagesRead": None, "major": 5000}, {}, "too-large",
     "The file does not fit: 412 refaults a second."),
    ({"refaults": 50, "pagesRead": 50, "requests": 10**6}, {}, "too-large",
     "The file does not fit: 5.0 refaults a second."),
    ({"refaults": 49, "pagesRead": 49}, {}, "fits", "The working set fits: 0.3 faults a request."),
    ({"refaults": 2, "pagesRead": 2, "requests": 20, "minor": 6}, {}, "too-large",
     "The file does not fit: 0.2 refaults a second."),
    ({"refaults": 1, "pagesRead": 1, "requests": 1, "minor": 2}, {}, "fits",
     "The working set fits: 2.0 faults a request."),
    ({"refaults": 40, "pagesRead": 40, "requests": 0}, {}, "idle",
     "Nothing is asked at the moment: 43 % of the file is in memory."),
    # Those of others.
    ({"refaults": 4120}, {}, "fits", "The working set fits: 0.3 faults a request."),
    ({"refaults": 50000, "pagesRead": 600}, {}, "too-large",
     "The file does not fit: 60 refaults a second."),
    # Where they are not known: what was known to be there is gone.
    ({"refaults": None, "pagesRead": 4120, "pagesGone": 2060}, {}, "losing",
     "The file does not fit: 412 pages a second are read, 206 are lost."),
    ({"refaults": None, "pagesRead": 4120, "pagesGone": 2059}, {}, "cold",
     "The file is not warm yet: 43 % of it is in memory, 412 pages a second are read."),
    ({"refaults": None, "pagesRead": None, "major": 700, "pagesGone": None}, {}, "cold",
     "The file is not warm yet: 43 % of it is in memory, 70 pages a second are read."),
    # Faults of the threads that read cold pages are among the pages that they have read.
    ({"pagesRead": 600, "major": 500, "coldMajor": 500}, {}, "cold",
     "The file is not warm yet: 43 % of it is in memory, 60 pages a second are read."),
    ({"pagesRead": 600, "major": 500, "coldMajor": 400}, {"residentBytes": None}, "cold",
     "The file is not warm yet: 70 pages a second are read."),
    ({"pagesRead": 600}, {"isAllResident": False}, "cold",
     "The file is not warm yet: 43 % of it was touched, 60 pages a second are read."),
    # A warm-up.
    ({"pagesRead": 600}, {"warmup": {"state": "running", "readBytes": 1, "totalBytes": 4}},
     "warming", "The file is being warmed up: 25 % is done."),
    ({}, {"warmup": {"state": "running", "readBytes": None, "totalBytes": None}}, "warming",
     "The file is being warmed up."),
    ({"refaults": 4120, "pagesRead": 5000},
     {"warmup": {"state": "running", "readBytes": 1, "totalBytes": 4}}, "too-large",
     "The file does not fit: 412 refaults a second."),
])
def test_the_sentence(speaker, delta, options, kind, text):
    assert said(speaker, delta, **options) == {"kind": kind, "text": text}


# The map

MIB = 1 << 20


def generation(regions, **other):
    """One whose last region has a single page."""
    return {"number": 1, "identity": "18446744073709551615", "is_served": True,
            "size_bytes": len(regions) * MIB - 4096 * 255, "source": "mincore",
            "resident_bytes": sum(regions) * 4096, "age_ms": 0, "took_ms": 1, "region_bytes": MIB,
            "regions": regions, **other}


UNKNOWN = {"source": "unknown", "resident_bytes": None, "regions": None}


def residency(*generations):
    return {"page_bytes": 4096, "generations": list(generations)}


# [[red, green, blue] of the middle of each cell]
COLOURS = """(() => {
    const map = [...actd.maps.values()][0];
    const {width, height} = map.canvas;
    const {data} = map.canvas.getContext('2d').getImageData(0, 0, width, height);
    return map.generation.regions.map((_, i) => {
        const [x, y, w, h] = map.box(i);
        const at = 4 * ((y + (h >> 1)) * width + x + (w >> 1));
        return [...data.slice(at, at + 3)];
    });
})()"""


def luminance(colour):
    def linear(part):
        part /= 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("n, width", [(1, 1280), (568, 1280), (1024, 1280), (1024, 320)])
def test_the_map_draws_the_regions(browser, cities, scheme, n, width):
    """More of it is darker, in the dark brighter: always, and to the eye without colours."""
    regions = [(i * 37) % 257 for i in range(n - 1)] + [1]  # the last one has a single page
    with browser.open(url_of(cities), scheme=scheme, width=width) as page:
        page.answer("/residency", residency(generation(regions)))
        page.wait(f"actd.state.residency?.generations[0].regions?.length === {n} && "
                  "document.querySelector('#maps canvas')?.width")
        page.wait_polls()
        colours = page.evaluate(COLOURS)
        fractions = [pages / 256 for pages in regions[:-1]] + [1]
        drawn = sorted(zip(fractions, map(luminance, colours)))
        steps = [(a, b) for a, b in zip(drawn, drawn[1:])]
        for (less, before), (more, after) in steps:
            if less == more:
                assert before == after
            elif less == 0:  # none at all is a step of its own
                assert before != after
            else:  # colours are rounded
                assert (after - before if scheme == "dark" else before - after) > -0.005
        (least, at_least), (most, at_most) = next(pair for pair in drawn if pair[0] > 0), drawn[-1]
        assert len(drawn) == n and most == 1
        lightest, darkest = max(at_least, at_most), min(at_least, at_most)
        assert n == 1 or (lightest + 0.05) / (darkest + 0.05) > 4.5


def test_the_map_is_of_what_residency_tells(page, cities):
    """Asked for at the same age, the two agree, and the cells have the colours of the numbers."""
    address = cities.admin_tcp

    def look():
        told = json.loads(http.fetch(address, "/residency")[2])["generations"]
        shown = page.evaluate("actd.state.residency?.generations ?? []")
        return told and shown and told[0]["regions"] == shown[0]["regions"] and shown[0]

    same = eventually(look, "the page and /residency to agree")
    assert same["source"] == "mincore" and same["size_bytes"] == paths.CITIES.stat().st_size
    page.wait_polls()
    assert page.text("#identity") == same["identity"]
    assert "all that is in the page cache" in page.text(".map figcaption")
    drawn, regions = page.evaluate(f"[{COLOURS}, actd.state.residency.generations[0].regions]")
    assert len(drawn) == len(regions)
    by_pages = {}
    for colour, pages in zip(drawn[:-1], regions):
        assert by_pages.setdefault(pages, colour) == colour


def test_an_unknown_map_says_why(page):
    page.answer("/residency", residency({**generation([0] * 64), **UNKNOWN, "age_ms": None}))
    page.wait_text(".map .why", "is being found out")
    page.answer("/residency", residency({**generation([0] * 64), **UNKNOWN}))
    page.wait_text(".map .why", "only the owner")
    assert page.evaluate("document.querySelector('.map .why').checkVisibility()")
    label = page.evaluate("document.querySelector('#maps canvas').getAttribute('aria-label')")
    assert label == "Map of 63.0 MiB: what is in memory is unknown."
    assert page.text("#resident") == "–"
    # Hatched: more than one colour in a cell, and none of them of the scale's end.
    colours = page.evaluate("""(() => {
        const map = [...actd.maps.values()][0];
        const data = map.canvas.getContext('2d').getImageData(...map.box(0)).data;
        return new Set(Array.from({length: data.length / 4},
            (_, i) => data.slice(4 * i, 4 * i + 3).join())).size;
    })()""")
    assert colours > 1
    page.answer("/residency", residency(generation([256] * 63 + [1])))
    page.wait("!document.querySelector('.map .why').checkVisibility()")


def test_each_generation_has_a_map(page):
    old, new = generation([256] * 10), generation([0] * 20, number=2, is_served=False)
    page.answer("/residency", residency(old, new))
    page.wait("document.querySelectorAll('#maps canvas').length === 2")
    titles = page.evaluate("[...document.querySelectorAll('.map h3')].map((h) => h.textContent)")
    assert titles == ["Generation 1", "Generation 2, not served yet"]
    page.answer("/residency", residency({**new, "is_served": True}))
    page.wait("document.querySelectorAll('#maps canvas').length === 1")
    assert page.text(".map h3") == "Generation 2"


def test_slow_requests(page):
    def slow(**other):
        return {"at_ms": 1700000000000, "worker": 1, "pid": 7, "method": "get", "key": None,
                "duration_ms": 100.4, "pages_missed": 3, "loop_faults": 0, "slices": 2,
                "error": None, "generation": 1, **other}

    page.answer("/slow", {"slow_ms": 100, "requests": [
        slow(key={"text": "<b>"}), slow(at_ms=1700000001000, key={"hex": "00ff"}, error=7),
    ]})
    page.wait("document.querySelectorAll('#slow tbody tr').length === 2")
    rows = page.evaluate("""[...document.querySelectorAll('#slow tbody tr')]
        .map((row) => [...row.cells].map((cell) => cell.textContent))""")
    assert [row[0:1] + row[2:] for row in rows] == [
        ["get", "100 ms", "3", "2", "1", "7", "0x00ff"],
        ["get", "100 ms", "3", "2", "1", "–", "<b>"],
    ]


def test_warmup_and_profile(page, cities):
    stats = cities.stats()
    stats["warmup"] = {"state": "running", "mode": "restore", "read_bytes": 3 * MIB,
                       "total_bytes": 4 * MIB, "eta_ms": 61000, "generation": 2}
    stats["profile"] = {"pages": 1234, "age_ms": 5000, "saves": 7, "failures": 1}
    page.answer("/stats", stats)
    page.wait_text("#warmup-text", "Running, 75 %")
    bar = "document.querySelector('#warmup-bar')"
    assert page.evaluate(f"{bar}.getAttribute('aria-valuenow')") == "75"
    texts = {name: page.text(f"#{name}") for name in (
        "warmup-mode", "warmup-read", "warmup-eta", "warmup-generation", "profile-age",
        "profile-pages", "profile-saves")}
    assert texts == {
        "warmup-mode": "restore", "warmup-read": "3.0 MiB of 4.0 MiB", "warmup-eta": "1 min 1 s",
        "warmup-generation": "2", "profile-age": "5 s ago", "profile-pages": "1,234",
        "profile-saves": "7, 1",
    }


# When the server is away, and when nobody looks


def test_a_server_that_is_away(browser, actd):
    first = actd()
    port = first.admin_tcp[2]
    with browser.open(url_of(first)) as page:
        page.may_complain = True
        page.wait(IS_THERE)
        first.stop()
        page.wait_text("#state-text", "Not reachable since ")
        page.wait_text("#announcement", "not reachable")
        since = page.text("#state-text")
        page.wait_polls(2)
        assert page.text("#state-text") == since
        assert page.text("#generation") == "1"  # what was last known stays
        second = actd(settings={"admin.tcp": f"127.0.0.1:{port}"})
        page.wait("document.querySelector('#state-text').textContent === 'Ready'")
        page.wait_text("#announcement", "is ready")
        # All counters began anew, and nothing has gone down.
        ask(second, 10)
        page.wait("actd.state.samples.length > 3")
        rates = page.evaluate("actd.state.moments.flatMap((moment) => Object.values(moment.rates))")
        assert all(rate is None or rate >= 0 for rate in rates)
        eventually(lambda: count_of(row_of(page, "get")[2]) == 10, "10 requests")


def test_not_ready_tells_why(page, cities):
    page.answer("/stats", {**cities.stats(), "unready": "no worker serves yet", "damage": "cut"})
    page.wait_text("#state-text", "Not ready: no worker serves yet")
    page.wait_text("#announcement", "not ready: no worker serves yet")
    page.wait_text("#alarm", "cut")
    page.answer("/stats", cities.stats())
    page.wait("document.querySelector('#state-text').textContent === 'Ready'")
    assert not page.evaluate("document.querySelector('#alarm').checkVisibility()")


HIDE = """(isHidden) => {
    Object.defineProperty(document, 'hidden', {get: () => isHidden, configurable: true});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_nothing_is_asked_while_nobody_looks(browser, cities):
    with browser.open() as page:
        page.do("stop_clock")
        page.go(url_of(cities))
        page.wait("actd.state.polls === 1")
        for n in range(2, 5):
            page.do("run_clock", ms=1000)
            page.wait(f"actd.state.polls === {n}")
        page.evaluate(f"({HIDE})(true)")
        page.do("run_clock", ms=60000)
        asked = len(page.seen()["requests"])
        page.do("run_clock", ms=60000)
        assert len(page.seen()["requests"]) == asked and page.evaluate("actd.state.polls") == 4
        page.evaluate(f"({HIDE})(false)")
        page.wait("actd.state.polls === 5")
        # The line is not drawn through the time that nobody has looked at.
        assert page.evaluate("document.querySelector('.chart .first').getAttribute('d')"
                             ".match(/M/g).length") == 2


# For whom it is


FOCUSED = """(() => {
    const at = document.activeElement;
    if (at === document.body) return null;
    const style = getComputedStyle(at);
    const label = document.getElementById(at.getAttribute('aria-labelledby'));
    return {
        name: at.getAttribute('aria-label') ?? label?.textContent ?? at.textContent,
        isMarked: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        isSeen: at.checkVisibility() && at.getBoundingClientRect().left >= 0,
    };
})()"""


def test_the_keyboard_reaches_everything(page):
    page.wait("document.querySelector('#maps canvas')")
    reached = []
    while len(reached) < 30:
        page.press("Tab")
        at = page.evaluate(FOCUSED)
        if at is None:
            break
        assert at["isMarked"] and at["isSeen"], at
        reached.append(at["name"])
    assert reached[1].startswith("Map of 2.2 MiB")
    assert [reached[0], *reached[2:]] == [
        "Skip to the numbers", "The same as a table", "Requests", "Workers", "Slow requests",
        "stats", "metrics", "residency", "slow",
    ]


def test_the_skip_link_skips(page):
    page.press("Tab")
    page.press("Enter")
    page.wait("document.activeElement.id === 'main'")


def test_arrow_keys_move_over_the_map(page):
    n = 1024
    page.answer("/residency", residency(generation([128] * (n - 1) + [1])))
    page.wait(f"actd.state.residency?.generations[0].regions?.length === {n}")
    page.wait_polls()
    page.evaluate("document.querySelector('#maps canvas').focus()")
    columns = page.evaluate("[...actd.maps.values()][0].columns")
    assert page.text("#map-live") == f"Region 1 of {n}, 0 B to 1.0 MiB: 50 % in memory"

    def press(key):
        page.press(key)
        return re.match(rf"Region (\d+) of {n}, ", page.text("#map-live"))[1]

    assert press("ArrowLeft") == "1" and press("ArrowUp") == "1"
    assert press("ArrowRight") == "2"
    assert page.text("#map-live") == f"Region 2 of {n}, 1.0 MiB to 2.0 MiB: 50 % in memory"
    assert press("ArrowDown") == str(2 + columns)
    assert press("ArrowUp") == "2" and press("Home") == "1" and press("End") == str(n)
    assert page.text("#map-live").endswith(": 100 % in memory")
    assert press("ArrowRight") == press("ArrowDown") == str(n)
    assert page.text(".map .readout") in page.text("#map-live")
    # What is read out is what the keyboard did: not each look at the file.
    page.answer("/residency", residency(generation([256] * (n - 1) + [0])))
    page.wait_text(".map .readout", ": 0 % in memory")
    assert page.text("#map-live").endswith(": 100 % in memory")


def test_the_map_as_a_table(page):
    regions = [256] * 32 + [0] * 31 + [1]
    page.answer("/residency", residency(generation(regions)))
    page.wait("actd.state.residency?.generations[0].regions?.length === 64")
    page.wait_polls()
    page.evaluate("document.querySelector('summary').focus()")
    page.press("Enter")
    rows = page.evaluate("""[...document.querySelectorAll('details tbody tr')]
        .map((row) => row.innerText.split('\\t'))""")
    assert rows[0] == ["0 B", "4.0 MiB", "4.0 MiB", "100 %"]
    assert rows[8] == ["32.0 MiB", "36.0 MiB", "0 B", "0 %"]
    assert rows[15] == ["60.0 MiB", "63.0 MiB", "4.0 KiB", "< 1 %"]


NAMED = {"link", "button", "img", "image", "table", "region", "figure", "progressbar", "heading",
         "main", "navigation", "canvas", "DisclosureTriangle", "columnheader", "rowheader"}


def test_everything_has_a_name(page):
    page.wait("document.querySelector('#maps canvas')")
    nodes = page.accessibility()
    roles = [node["role"] for node in nodes]
    unnamed = [node["role"] for node in nodes if node["role"] in NAMED - {"main", "figure"}
               and not node["name"].strip()]
    assert not unnamed
    # The map, the bar, and three charts.
    assert sum(role in ("img", "image") for role in roles) == 5
    assert roles.count("main") == 1 and roles.count("navigation") == 1
    assert roles.count("banner") == 1 and roles.count("contentinfo") == 1
    headings = page.evaluate("""[...document.querySelectorAll('h1, h2, h3')]
        .map((heading) => +heading.localName[1])""")
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(headings, headings[1:]))
    assert page.evaluate("""[...document.querySelectorAll('th')]
        .every((th) => ['col', 'row', 'colgroup'].includes(th.scope))""")
    live = page.evaluate("[...document.querySelectorAll('[aria-live]')].map((e) => e.id)")
    assert live == ["announcement", "map-live"]


def test_only_what_changes_its_kind_is_read_out(page, cities):
    """Not every number, every second."""
    page.wait("document.querySelector('#sentence').dataset.kind !== 'waiting'")
    page.evaluate("""window.told = [];
        new MutationObserver((changes) => changes.forEach((change) =>
            change.addedNodes.forEach((line) => told.push(line.textContent))))
            .observe(document.querySelector('#announcement'), {childList: true})""")
    kind = "document.querySelector('#sentence').dataset.kind"
    page.wait(f"{kind} === 'idle'")
    page.evaluate("told.length = 0")
    page.wait_polls(3)
    assert page.evaluate("told") == []
    ask(cities, 1000)
    page.wait(f"{kind} === 'fits'")
    page.wait(f"{kind} === 'idle'")
    told = page.evaluate("told")
    assert len(told) == 2 and told[0].startswith("The working set fits")


@pytest.mark.parametrize("width", [320, 480, 768, 1280, 2560])
def test_no_width_needs_sideways_scrolling(browser, cities, width):
    ask(cities, 10)
    with browser.open(url_of(cities), width=width) as page:
        page.wait(IS_THERE)
        page.answer("/stats", large(cities.stats()))
        page.wait_polls(2)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def large(stats):
    """The same with long numbers."""
    def grow(value):
        if isinstance(value, dict):
            return {name: grow(part) for name, part in value.items()}
        if isinstance(value, list):
            return [grow(part) for part in value]
        return value * 10007 if isinstance(value, int) else value

    return {**grow(stats), "path": "/srv/" + "trees/" * 20 + "x" * 200,
            "refusal": "/srv/trees/" + "y" * 300}


def test_numbers_do_not_move_the_page(page, cities):
    """Rows that are there stay where they are, whatever the numbers in them."""
    ask(cities, 10)
    stats = cities.stats()
    tops = """[...document.querySelectorAll('h2, h3, #sentence, tr, dd, canvas, svg')]
        .map((element) => Math.round(element.getBoundingClientRect().top + scrollY))"""
    page.answer("/residency", residency(generation([9] * 64)))
    page.answer("/slow", {"slow_ms": 100, "requests": []})
    page.answer("/stats", stats)
    page.wait("document.querySelector('#maps canvas')?.clientHeight && "
              "document.querySelector('#methods th[scope=row]')")
    page.wait_polls(2)
    before = page.evaluate(tops)
    huge = {**large(stats), "path": None, "refusal": None}
    page.answer("/stats", huge)
    page.answer("/residency", residency(generation([256] * 64)))
    page.wait_polls(2)
    assert page.evaluate(tops) == before


CONTRASTS = """(() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
        }
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        if (['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName)) continue;
        const style = getComputedStyle(element);
        found.push([walker.currentNode.textContent, parse(style.color).slice(0, 3), ground(element),
                    parseFloat(style.fontSize)]);
    }
    return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser, cities, scheme):
    """WCAG AA: 4.5, and 3 for large text."""
    ask(cities, 10)
    stats = cities.stats()
    stats.update(unready="for a test", damage="for a test", refusal="for a test")
    stats["methods"]["get"]["errors"] = 7
    stats["memory"]["refaults"] = 0
    with browser.open(url_of(cities), scheme=scheme) as page:
        page.answer("/stats", stats)
        page.wait("actd.state.samples.length === 1 && actd.state.stats.unready")
        refaulting = {**stats, "memory": {**stats["memory"], "refaults": 10**6},
                      "cold": {**stats["cold"], "pages_read": 10**6}}
        page.answer("/stats", refaulting)
        page.wait("document.querySelector('#sentence').dataset.kind === 'too-large'")
        found = page.evaluate(CONTRASTS)
        assert len(found) > 80
        for text, colour, ground, size in found:
            light, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
            contrast = (light + 0.05) / (dark + 0.05)
            assert contrast >= (3 if size >= 24 else 4.5), (text, colour, ground)


def test_less_motion(browser, cities):
    moving = "getComputedStyle(document.querySelector('#bar-resident')).transitionDuration"
    with browser.open(url_of(cities)) as page:
        assert page.evaluate(moving) == "0.6s"
    with browser.open(url_of(cities), motion="reduce") as page:
        assert page.evaluate(moving) == "0s"


@pytest.mark.parametrize("name, width, scheme", [
    ("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 320, "light"),
])
def test_pictures(browser, cities, name, width, scheme):
    with browser.open(url_of(cities), width=width, scheme=scheme) as page:
        page.wait(IS_THERE)
        for _ in range(5):
            ask(cities, 500)
            page.wait_polls()
        page.wait("actd.state.residency?.generations[0]?.regions")
        path = page.screenshot(f"page-{name}")
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(data[16:20], "big") == width


# Memory that is too small, for real

LIMIT_BYTES = 32 << 20


@pytest.mark.alone
def test_a_file_that_does_not_fit(browser, tmp_path):
    """Keys from all over a file of four times the memory are asked for: pages come back that have
    gone. Where there is memory enough for a few of them, these fit."""
    rng = random.Random(11)
    tree = cold.build(tmp_path / "large.act", 4 * LIMIT_BYTES // 4000, 4000)
    few = tree.keys[:20]
    kind = "document.querySelector('#sentence').dataset.kind"
    with MemoryLimit(LIMIT_BYTES) as limit, SlowDisk(tmp_path, tree.path) as disk:
        with cold.serving(disk, preexec=limit.join) as daemon, daemon.client() as client:

            def ask_some(keys, n, wanted):
                some = [rng.choice(keys) for _ in range(n)]
                assert client.results([["get", key] for key in some]) == [
                    tree.values[key] for key in some
                ]
                client.answered.clear()
                return page.evaluate(kind) == wanted

            with browser.open(url_of(daemon)) as page:
                page.wait(IS_THERE)
                eventually(lambda: ask_some(few, 20, "fits"), "few keys to fit")
                eventually(lambda: ask_some(tree.keys, 500, "too-large"), "refaults")
                said_now = page.text("#sentence")
                assert re.fullmatch(r"The file does not fit: [\d,.]+ refaults a second\.",
                                    said_now)
                assert disk.bytes > LIMIT_BYTES
                page.screenshot("page-does-not-fit")
                eventually(lambda: ask_some(few, 20, "fits"), "few keys to fit again")
