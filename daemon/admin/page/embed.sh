#!/bin/sh
# embed.sh PAGE.html STYLE.css SCRIPT.js...: the page as C, for page.h, on the standard output.
#
# The style, and the scripts one after the other, take the places of the lines @style@ and @script@.
# The policy allows these two by their digests, and nothing else to run or to be fetched.
set -eu

page=$1 style=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat "$@" >"$work/script"
sed -e "/^@style@\$/{r $style" -e d -e '}' -e "/^@script@\$/{r $work/script" -e d -e '}' \
    "$page" >"$work/page"

# Of all that stands between the tags: the end of the first one's line, and the file.
digest() {
    hex=$({ echo && cat "$1"; } | sha256sum | cut -c1-64)
    # Not the shell's own: \x is not known to all of these.
    env printf "$(printf '%s' "$hex" | sed 's/../\\x&/g')" | base64
}

cat <<END
#include "daemon/admin/page/page.h"

const char page_policy[] =
    "default-src 'none'; connect-src 'self'; img-src data:; "
    "script-src 'sha256-$(digest "$work/script")'; "
    "style-src 'sha256-$(digest "$style")'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const char page_html[] = {
$(od -An -v -td1 "$work/page" | sed 's/ *\(-*[0-9][0-9]*\)/\1,/g')
};
const size_t page_html_size = sizeof page_html;
END
