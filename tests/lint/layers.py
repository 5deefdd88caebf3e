"""The layers point down only: base <- tree, proto <- daemon, client. Includes are grepped, because
layers that nobody checks decay."""

import re

import source

# Where a file is (the longest that fits counts): what it may include of the project.
ALLOWED = {
    "base/": ["base/"],
    "tree/": ["base/", "tree/", "act/"],
    "proto/": ["base/", "proto/"],
    "client/": ["base/", "proto/", "client/", "actc/"],
    # The command line may look into files; it speaks to servers by the library's public calls.
    "client/actctl/": ["base/", "proto/", "client/actctl/", "actc/", "act/"],
    # Shared by both roles.
    "daemon/": ["base/", "act/", "daemon/background.h", "daemon/board.h", "daemon/config"]
    + ["daemon/control.h", "daemon/events.h", "daemon/generation.h", "daemon/journal.h"]
    + ["daemon/latency.h", "daemon/methods.h"]
    + ["daemon/slow.h", "daemon/snapshot.h", "daemon/stats.h", "daemon/temporary.h"]
    + ["daemon/usage.h"],
    "daemon/main.c": ["base/", "daemon/config.h", "daemon/supervisor/supervisor.h"]
    + ["daemon/events.h", "daemon/journal.h"]
    + ["daemon/worker/link.h", "daemon/checker/checker.h", "daemon/warmer/warmer.h"]
    + ["daemon/verifier/verifier.h"],
    # Never parses what a data client sends, never reads the tree.
    "daemon/supervisor/": ["base/", "daemon/board.h", "daemon/config.h", "daemon/control.h"]
    + ["daemon/events.h"]
    + ["daemon/generation.h", "daemon/stats.h", "daemon/supervisor/", "daemon/usage.h"]
    + ["daemon/admin/admin.h", "daemon/admin/access.h"]
    + ["act/pages.h", "act/residency.h"],
    # Opens and reads a file that may be anything; a process of its own.
    "daemon/checker/": ["base/", "act/", "daemon/config.h", "daemon/control.h"]
    + ["daemon/snapshot.h", "daemon/background.h", "daemon/temporary.h", "daemon/checker/"],
    # Reads what is served; likewise.
    "daemon/verifier/": ["base/", "act/", "daemon/board.h", "daemon/config.h", "daemon/control.h"]
    + ["daemon/snapshot.h", "daemon/background.h", "daemon/temporary.h", "daemon/verifier/"],
    # Reads a file that may shrink or hang, and a profile that may be anything; likewise.
    "daemon/warmer/": ["base/", "act/", "daemon/config.h", "daemon/control.h"]
    + ["daemon/background.h", "daemon/warmer/"],
    # Never opens a path, listens or talks to systemd.
    "daemon/worker/": ["base/", "act/", "proto/", "daemon/board.h", "daemon/config.h"]
    + ["daemon/control.h", "daemon/events.h", "daemon/methods.h", "daemon/snapshot.h"]
    + ["daemon/stats.h", "daemon/slow.h", "daemon/usage.h", "daemon/worker/"],
    "daemon/admin/": ["base/", "daemon/board.h", "daemon/config.h", "daemon/stats.h"]
    + ["daemon/admin/", "daemon/supervisor/listen_socket.h", "daemon/supervisor/reload.h"]
    + ["daemon/supervisor/crew.h", "daemon/slow.h", "daemon/supervisor/warmup.h"]
    + ["daemon/supervisor/census.h", "daemon/supervisor/verify.h"],
}

# What only some may use of other people's.
FOREIGN = {
    "uv.h": ["daemon/supervisor/", "daemon/worker/conn.", "daemon/worker/worker."]
    + ["daemon/worker/cold.", "daemon/worker/errand.", "daemon/worker/link."]
    + ["daemon/admin/admin.", "daemon/admin/peer."],
    "microhttpd.h": ["daemon/admin/admin.c", "daemon/admin/exchange."],
    "json-c/": ["daemon/admin/render", "client/actctl/"],
    "systemd/": ["daemon/supervisor/notify.c", "daemon/supervisor/inherited.c"],
    "curl/": ["client/actctl/admin.c"],
    "ini.h": ["daemon/config.c"],
    "msgpack.h": ["proto/", "client/"],
    "sys/mman.h": ["tree/", "daemon/board.c", "daemon/checker/copy.c", "daemon/config.c"]
    + ["daemon/supervisor/store.c"],
}

GENERATED = ["build_config.h"]


def rule_of(name):
    return ALLOWED[max((place for place in ALLOWED if name.startswith(place)), key=len)]


def resolve(path, included):
    """A header beside the file may be named without its folder."""
    beside = path.parent / included
    return source.name_of(beside) if "/" not in included and beside.exists() else included


def check_include(path, line, included, is_ours):
    name = source.name_of(path)
    problems = []
    if is_ours and included not in GENERATED:
        included = resolve(path, included)
        if not any(included.startswith(allowed) for allowed in rule_of(name)):
            problems.append(f"{name}:{line}: must not include {included}")
    for header, places in FOREIGN.items():
        if included.startswith(header) and not name.startswith(tuple(places)):
            problems.append(f"{name}:{line}: {included} belongs in {', '.join(places)}")
    return problems


def check_file(path):
    problems = []
    name = source.name_of(path)
    for line, text in enumerate(path.read_text().split("\n"), 1):
        include = re.match(r'\s*#\s*include\s+([<"])([^>"]+)', text)
        if include:
            problems += check_include(path, line, include[2], include[1] == '"')
    # The names come in by other headers too.
    if not name.startswith(tuple(FOREIGN["uv.h"])):
        for line, text in enumerate(source.without_comments(path.read_text()).split("\n"), 1):
            if used := re.search(r"\buv_\w+", text):
                problems.append(f"{name}:{line}: {used[0]} in a file that owns no handle")
    return problems


paths = source.files(source.SOURCE_FOLDERS, ".c", ".h")
assert len(paths) > 50
source.end([problem for path in paths for problem in check_file(path)])
