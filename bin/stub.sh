#!/bin/sh
# Make what a process promises: folders for names that end in /, files for the rest.
# `name=text` gives the file text, a line for each \n. A link to an input of that name is replaced, not written through.
for name in "$@"; do
    path=${name%%=*}
    path=${path%/}
    [ ! -L "$path" ] || rm "$path"
    mkdir -p "$(dirname "$path")"
    case $name in
        */) mkdir -p "$path" ;;
        *=*) printf '%b\n' "${name#*=}" > "$path" ;;
        *) : > "$path" ;;
    esac
done
