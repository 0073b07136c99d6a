#!/bin/bash
# Build containers/voxelmill.sif without an image registry: Debian packages and the pinned Python packages.
# Usage: container_build.sh [IMAGE]. Root builds as the plain user BUILD_USER; anyone else as themselves.
#
# The image holds what the package depends on; the package itself comes from the checkout, by PYTHONPATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
image=$(realpath -m "${1:-containers/voxelmill.sif}")
user=${BUILD_USER:-voxelmill-build}
say() { echo "[container] $*"; }
stop() { echo "[container] ERROR: $*" >&2; exit 1; }

command -v apptainer > /dev/null || stop "no apptainer on PATH; tools/apptainer_install.sh gets it"
PATH=$PATH:/usr/sbin:/sbin
command -v debootstrap > /dev/null || stop "no debootstrap on PATH"
python=
for one in ${PYTHON:-} .venv/bin/python python3.11 python3; do
    if "$one" -c 'import pip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then python=$one; break; fi
done
[ -n "$python" ] || stop "the image has Python 3.11, and packages for it need a python3.11 with pip here"

mirror=$(tools/debian_mirror.sh)
begun=$(date +%s)
build=$(mktemp -d "${TMPDIR:-/tmp}/voxelmill-image.XXXXXX")
trap 'rm -rf "$build"' EXIT
say "Python packages"
"$python" containers/wanted.py > "$build/wanted.txt"
"$python" -m pip install -q --disable-pip-version-check --target "$build/site" -c requirements.lock -r "$build/wanted.txt"
rm -rf "$build"/site/{bin,cmake,cmake-*}   # a build tool that a reader's package lists
find "$build/site" -depth -type d -name tests -exec rm -rf {} +
cp containers/voxelmill.def "$build/"

as_user=()
if [ "$(id -u)" = 0 ]; then
    id "$user" > /dev/null 2>&1 || useradd --create-home "$user"
    grep -q "^$user:" /etc/subuid || { echo "$user:100000:65536" >> /etc/subuid; echo "$user:100000:65536" >> /etc/subgid; }
    chown -R "$user" "$build"
    as_user=(runuser -u "$user" -- env "HOME=$(getent passwd "$user" | cut -d: -f6)" "PATH=$PATH" "APPTAINER_TMPDIR=$build")
fi
say "image, built as $([ "$(id -u)" = 0 ] && echo "$user" || id -un)"
(cd "$build" && "${as_user[@]}" apptainer build \
    --mksquashfs-args "-comp zstd -Xcompression-level 6" --build-arg "mirror=$mirror" image.sif voxelmill.def) \
    > "$build/log" 2>&1 || { tail -n 30 "$build/log" >&2; stop "apptainer build failed"; }
mkdir -p "$(dirname "$image")"
cp "$build/image.sif" "$image.partial"
chmod 644 "$image.partial"
mv "$image.partial" "$image"
say "$image: $(($(stat -c %s "$image") >> 20)) MB, built in $(($(date +%s) - begun)) s"
