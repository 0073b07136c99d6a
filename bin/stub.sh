#!/bin/sh
# Make what a process promises: folders for names that end in /, files for the rest.
# `name=text` gives the file a line of text.
for name in "$@"; do
    case $name in
        */) mkdir -p "$name" ;;
        *=*) mkdir -p "$(dirname "${name%%=*}")"; printf '%s\n' "${name#*=}" > "${name%%=*}" ;;
        *) mkdir -p "$(dirname "$name")"; : > "$name" ;;
    esac
done
