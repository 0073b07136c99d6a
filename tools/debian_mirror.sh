#!/bin/bash
# The Debian mirror that this machine uses, from its own apt sources.
set -eu
mirrors=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2> /dev/null |
    awk '/^URIs:/ { print $2 } /^deb / { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) print $i }')
grep -m 1 '/debian/*$' <<< "$mirrors" || { echo "no Debian mirror in this machine's apt sources" >&2; exit 1; }
