#!/bin/bash
# Set up the virtual environment and Nextflow; safe to repeat. Usage: setup.sh [run|dev]
#
#   .venv/               pinned Python packages (requirements.lock), the package itself, bin/nextflow
#   .nextflow-runtime/   Nextflow from Maven Central, only where none is on PATH
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kind=${1:-dev}
say() { echo "[setup] $*"; }
stop() { echo "[setup] ERROR: $*" >&2; exit 1; }

# The first that runs and is new enough: a name on PATH may be an empty shim.
python=
for one in ${PYTHON:-} python3.12 python3.11 python3.13 python3; do
    if "$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then python=$one; break; fi
done
[ -n "$python" ] || stop "no Python of version 3.11 or later on PATH ($(python3 -V 2>&1 || true)); install one"
# A Nextflow on PATH is used as it is, unless that is our own launcher.
theirs=$(type -ap nextflow 2> /dev/null | grep -vF "$PWD/.venv/" | head -n 1 || true)
command -v java > /dev/null || stop "no java on PATH; install a JDK of version 17 to 25 (Debian: openjdk-17-jre-headless)"
major=$(java -version 2>&1 | sed -En 's/.*version "(1\.)?([0-9]+).*/\2/p' | head -n 1)
[ "${major:-0}" -ge 17 ] || stop "java is version ${major:-unknown}; Nextflow needs 17 or later"
[ -n "$theirs" ] || [ "$major" -le 25 ] || stop "java is version $major; Nextflow 25.04 runs on 17 to 25: put such a one first on PATH"

runtime=.nextflow-runtime/.complete
[ ! -e "$runtime" ] || [ tools/nextflow-pom.xml -ot "$runtime" ] || rm -f "$runtime"
if [ -z "$theirs" ] && [ ! -e "$runtime" ]; then
    command -v mvn > /dev/null || stop "neither nextflow nor mvn on PATH; install Nextflow, or Maven to fetch it"
fi
[ -w . ] || [ -e ".venv/.voxelmill-$kind" ] || stop "$PWD cannot be written; copy it to a folder of yours"

if [ ! -x .venv/bin/python ]; then
    say "virtual environment in .venv"
    "$python" -m venv .venv || stop "cannot make .venv; on Debian install python3-venv"
fi
stamp=.venv/.voxelmill-$kind
if [ ! -e "$stamp" ] || [ requirements.lock -nt "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    say "installing pinned packages"
    pip=(.venv/bin/python -m pip install -q --disable-pip-version-check)
    lost="Python packages could not be fetched; is there a network, or a mirror in pip's configuration?"
    "${pip[@]}" "setuptools>=77" || stop "$lost"
    if [ "$kind" = dev ]; then
        "${pip[@]}" -r requirements.lock || stop "$lost"
        "${pip[@]}" --no-deps --no-build-isolation -e .
    else # what runs need, at the same versions; what only tests need is left out
        "${pip[@]}" -c requirements.lock --no-build-isolation -e ".[bossdb,timelapse,serve]" || stop "$lost"
    fi
    touch "$stamp"
fi

ours=.venv/bin/nextflow
if [ -n "$theirs" ]; then
    [ "$(readlink "$ours")" = "$theirs" ] || ln -sf "$theirs" "$ours"
elif [ ! -e "$runtime" ]; then
    say "Nextflow from Maven Central"
    rm -rf .nextflow-runtime && mkdir .nextflow-runtime
    mvn -q -B -f tools/nextflow-pom.xml dependency:copy-dependencies -DoutputDirectory="$PWD/.nextflow-runtime/lib" ||
        stop "Nextflow could not be fetched from Maven Central; is there a network, or a mirror in Maven's settings?"
    touch "$runtime"
fi
if [ -z "$theirs" ]; then
    cmp -s tools/nextflow-launcher .nextflow-runtime/nextflow-launcher ||
        install -m 755 tools/nextflow-launcher .nextflow-runtime/nextflow-launcher
    [ "$(readlink "$ours")" = ../../.nextflow-runtime/nextflow-launcher ] || ln -sf ../../.nextflow-runtime/nextflow-launcher "$ours"
    # A class-data archive for this JVM, from a run that loads what runs load; without one all works, half a second later.
    version=$(sed -n 's/^JAVA_RUNTIME_VERSION="\(.*\)"/\1/p' "$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")/release" 2> /dev/null || true)
    if [ -n "$version" ] && [ ! -e ".nextflow-runtime/classes-$version.jsa" ]; then
        say "class-data archive"
        rm -f .nextflow-runtime/classes-*.jsa
        try=$(mktemp -d)
        (
            cd "$try"
            NXF_OPTS="-XX:ArchiveClassesAtExit=$try/classes.jsa -Xlog:disable" "$OLDPWD/$ours" run "$OLDPWD/main.nf" -profile test -preview --outdir out
        ) > /dev/null 2>&1 && mv "$try/classes.jsa" ".nextflow-runtime/classes-$version.jsa" || say "none could be made; Nextflow starts without"
        rm -rf "$try"
    fi
fi
say "ready: .venv/bin/nextflow, .venv/bin/voxelmill"
