#!/bin/sh
# .clang-format decides how C looks. Another version of clang-format decides otherwise.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: $1"
    [ "${ACTD_TEST_NO_SKIP:-0}" = 1 ] && exit 1
    exit 77
}

clang_format=$(command -v clang-format-14 || command -v clang-format) ||
    skip "needs clang-format 14 (Debian 12: clang-format)"
case $("$clang_format" --version) in
*"version 14."*) ;;
*) skip "needs clang-format 14; this is $("$clang_format" --version)" ;;
esac

find base tree proto daemon client bench tests -name '*.[ch]' -print0 |
    xargs -0 "$clang_format" --dry-run --Werror
