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

python=${PYTHON:-$(command -v python3.12 || command -v python3.11 || command -v python3 || true)}
[ -n "$python" ] || stop "no python3 on PATH; install Python 3.11 or later"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || stop "$("$python" -V) is too old; install Python 3.11 or later"
command -v java > /dev/null || stop "no java on PATH; install a JDK of version 17 or later (Debian: openjdk-17-jre-headless)"
major=$(java -version 2>&1 | sed -n '1s/.*"\([0-9]*\).*/\1/p')
[ "${major:-0}" -ge 17 ] || stop "java is version ${major:-unknown}; Nextflow needs 17 or later"

if [ ! -x .venv/bin/python ]; then
    say "virtual environment in .venv"
    "$python" -m venv .venv || stop "cannot make .venv; on Debian install python3-venv"
fi
stamp=.venv/.voxelmill-$kind
if [ ! -e "$stamp" ] || [ requirements.lock -nt "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    say "installing pinned packages"
    .venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.lock
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
    touch "$stamp"
fi

# A Nextflow on PATH is used as it is, unless that is our own launcher.
ours=.venv/bin/nextflow
theirs=$(type -ap nextflow 2> /dev/null | grep -vF "$PWD/.venv/" | head -n 1 || true)
if [ -n "$theirs" ]; then
    ln -sf "$theirs" "$ours"
elif [ ! -e .nextflow-runtime/.complete ]; then
    command -v mvn > /dev/null || stop "neither nextflow nor mvn on PATH; install Nextflow, or Maven so that it can be fetched"
    say "Nextflow from Maven Central"
    rm -rf .nextflow-runtime && mkdir .nextflow-runtime
    mvn -q -B -f tools/nextflow-pom.xml dependency:copy-dependencies -DoutputDirectory="$PWD/.nextflow-runtime/lib"
    touch .nextflow-runtime/.complete
fi
if [ -z "$theirs" ]; then
    install -m 755 tools/nextflow-launcher .nextflow-runtime/nextflow-launcher
    ln -sf ../../.nextflow-runtime/nextflow-launcher "$ours"
fi
say "ready: .venv/bin/nextflow, .venv/bin/voxelmill"
