"""Adds up JUnit results and prints the one line that closes a test run.

    count_results.py FAILED-RUNS FILE...

A run that failed without a failed test in its file counts as one failure, and so does a file that
is missing or cut: what wrote it was killed, or crashed. With ACTD_TEST_NO_SKIP=1 a skipped test is
a failed one.
"""
import os
import sys
import xml.etree.ElementTree as ElementTree


def cases(path):
    """The tests of the file; then, where it cannot be read to its end, None."""
    try:
        for _, element in ElementTree.iterparse(path):
            if element.tag == "testcase":
                yield element
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        yield None


def count(path):
    passed, failed, skipped = 0, [], []
    for case in cases(path):
        if case is None:
            run = os.path.basename(path).removesuffix(".xml")
            failed.append(f"{run}: its results are missing or cut: it did not come to its end")
            continue
        name = f"{case.get('classname')}: {case.get('name')}"
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed.append(name)
        elif "skipped" in kinds:
            skipped.append(name)
        else:
            passed += 1
    return passed, failed, skipped


def main():
    failed_runs, paths = int(sys.argv[1]), sys.argv[2:]
    passed, failed, skipped = 0, [], []
    for path in paths:
        p, f, s = count(path)
        passed, failed, skipped = passed + p, failed + f, skipped + s
    if os.environ.get("ACTD_TEST_NO_SKIP") == "1":
        failed, skipped = failed + skipped, []
    for name in failed:
        print(f"failed: {name}")
    for name in skipped:
        print(f"skipped: {name}")
    n_failed = max(len(failed), failed_runs)
    if passed == 0:
        n_failed = max(n_failed, 1)
    print(f"{passed} passed, {n_failed} failed" + (f", {len(skipped)} skipped" if skipped else ""))
    sys.exit(1 if n_failed else 0)


main()
