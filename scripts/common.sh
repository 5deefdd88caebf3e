# What scripts/demo and scripts/test share: installing what is missing, and building.
# Sourced with $root set to the project's directory.

# Debian packages that a build needs.
build_packages="gcc libc6-dev meson ninja-build pkg-config libuv1-dev libmsgpack-dev libsystemd-dev
    libinih-dev libmicrohttpd-dev libjson-c-dev libcurl4-openssl-dev
    libxxhash-dev scdoc"
# What Debian packages need more.
package_packages="debhelper dpkg-dev systemd"
# And what the tests need more.
test_packages="libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-hypothesis
    python3-msgpack python3-pynvim clang-format groff-base mandoc man-db procps util-linux curl
    liblmdb-dev libcdb-dev gnuplot-nox lua5.1 lua-mpack lua-socket neovim libfuse3-dev fuse3
    e2fsprogs mount vmtouch util-linux-extra prometheus chromium fonts-dejavu-core lintian binutils
    systemd strace systemd-container mmdebstrap"
# npm may have come with another nodejs than Debian's.
command -v npm >/dev/null || test_packages="$test_packages nodejs npm"
# And what takes 450 MB, so that only the long tests use it.
long_test_packages="golang-go golang-github-ugorji-go-codec-dev"
# The demonstration shows the admin endpoint with it.
demo_packages="curl"

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]
}

# Installs the packages named that are not there yet. Asks nothing.
install_missing() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "There is no apt here. These are the names of the needed packages in Debian 12; install"
        say "what your system calls them (nothing more is done about it here):"
        say "    $*" | tr -s ' \n' ' '
        say ""
        return 0
    fi
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "packages are missing. Install them as root: apt-get install$missing"
        as_root="sudo -n"
    fi
    say "Installing:$missing"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update </dev/null >/dev/null ||
        die "apt-get update failed: is there a network?"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        $missing </dev/null >/dev/null || die "cannot install$missing"
}

# install_npm_packages DIRECTORY: what the tests of other people's clients, and those of the page,
# need, as the lock file says. Without it (no npm, no network) their tests are skipped.
install_npm_packages() {
    directory=$1
    wanted=$root/tests/process/clients
    cmp -s "$wanted/package-lock.json" "$directory/installed.json" && return
    command -v npm >/dev/null || {
        say "There is no npm: the tests of its client and of the page will be skipped."
        return 0
    }
    say "Installing npm packages in ${directory#"$root"/}"
    mkdir -p "$directory"
    rm -f "$directory/installed.json"
    cp "$wanted/package.json" "$wanted/package-lock.json" "$directory"
    (cd "$directory" && timeout 300 npm ci --ignore-scripts --no-audit --no-fund) \
        </dev/null >"$directory/npm.log" 2>&1 || {
        tail -n 20 "$directory/npm.log" >&2
        say "npm failed: the tests of its client and of the page will be skipped."
        return 0
    }
    cp "$wanted/package-lock.json" "$directory/installed.json"
}

# build_in DIRECTORY [MESON-OPTION...]: sets up once, builds, is quiet unless it fails.
build_in() {
    directory=$1
    shift
    mkdir -p "$directory"
    log=$directory/build.log
    say "Building in ${directory#"$root"/}"
    {
        if [ -f "$directory/build.ninja" ]; then
            meson configure "$directory" "$@"
        else
            meson setup "$directory" "$root" "$@"
        fi && ninja -C "$directory"
    } >"$log" 2>&1 </dev/null || {
        tail -n 40 "$log" >&2
        die "the build failed; all of it is in $log"
    }
}
