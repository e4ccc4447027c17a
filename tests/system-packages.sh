#!/bin/sh
# What the tests need beside Python packages: a browser for the admin page, promtool for the alert rules. On Debian
# and its kin, as root, they are installed; elsewhere this says what to install.
set -eu

missing=""
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 \
    || command -v google-chrome >/dev/null 2>&1 || missing="chromium"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing$(printf ' %s' $missing) for the tests" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
    exit 0
fi

echo "The tests also need:$(printf ' %s' $missing). On Debian or Ubuntu:" >&2
echo "    sudo apt-get install$(printf ' %s' $missing)" >&2
echo "Elsewhere: any Chromium, and the promtool of Prometheus, on PATH. Then run make test again." >&2
exit 1
