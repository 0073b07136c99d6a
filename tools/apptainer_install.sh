#!/bin/bash
# Apptainer from Debian's packages, on Debian bookworm, as root. Usage: apptainer_install.sh
#
# Only unstable has the package and it wants a newer libc, so: fetch it and the libraries it needs in a
# private apt folder (the machine's own sources and libc stay as they are), unpack them under PREFIX, and
# let patchelf point the two programs at the private loader and libraries.
set -euo pipefail
prefix=${PREFIX:-/opt/apptainer}
say() { echo "[apptainer] $*"; }
stop() { echo "[apptainer] ERROR: $*" >&2; exit 1; }

if command -v apptainer > /dev/null && apptainer --version > /dev/null 2>&1; then
    apptainer --version
    exit 0
fi
[ "$(id -u)" = 0 ] || stop "installing needs root; or put apptainer on PATH"
command -v apt-get > /dev/null || stop "no apt-get on this machine; put apptainer on PATH"
[ "$(uname -m)" = x86_64 ] || stop "only x86_64 is supported here; put apptainer on PATH"

need=()
for tool in patchelf:patchelf mksquashfs:squashfs-tools squashfuse_ll:squashfuse newuidmap:uidmap \
            debootstrap:debootstrap fuse-overlayfs:fuse-overlayfs fakeroot:fakeroot; do
    command -v "${tool%%:*}" > /dev/null || need+=("${tool##*:}")
done
export DEBIAN_FRONTEND=noninteractive
if [ ${#need[@]} -gt 0 ]; then
    say "installing ${need[*]}"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${need[@]}" > /dev/null
fi

mirror=$("$(dirname "$0")/debian_mirror.sh")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder"/{lists/partial,cache/archives/partial,deb}
: > "$folder/status"
chmod 755 "$folder"
chmod 777 "$folder/deb"
for suite in trixie sid; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done > "$folder/sources.list"
apt=(apt-get -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
     -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o "Dir::State::status=$folder/status"
     -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Acquire::Languages=none)
"${apt[@]}" update
(cd "$folder/deb" && "${apt[@]}" download apptainer/sid libc6/trixie libseccomp2/trixie libsqlite3-0/trixie)

rm -rf "$prefix"
mkdir -p "$prefix/lib"
for package in "$folder"/deb/*.deb; do
    case $package in
        */apptainer_*) dpkg-deb -x "$package" "$prefix" ;;
        *) dpkg-deb -x "$package" "$folder/unpacked" ;;
    esac
done
cp -a "$folder"/unpacked/usr/lib/x86_64-linux-gnu/{libc.so.6,libm.so.6,libresolv.so.2,libpthread.so.0,libdl.so.2} \
      "$folder"/unpacked/usr/lib/x86_64-linux-gnu/{ld-linux-x86-64.so.2,libnss_files.so.2,libnss_dns.so.2} \
      "$folder"/unpacked/usr/lib/x86_64-linux-gnu/{libseccomp.so.2*,libsqlite3.so.0*} "$prefix/lib/"
for program in "$prefix/usr/bin/apptainer" "$prefix"/usr/lib/*/apptainer/bin/starter; do
    patchelf --set-interpreter "$prefix/lib/ld-linux-x86-64.so.2" --set-rpath "$prefix/lib" --force-rpath "$program"
done
# It finds its own prefix from its path, which is PREFIX/usr.
ln -s ../etc "$prefix/usr/etc"
ln -s ../etc "$prefix/usr/lib/etc"
ln -s ../var "$prefix/usr/lib/var"
mkdir -p "$prefix/usr/var/lib/apptainer/mnt/session"
# Root in a machine without CAP_SYS_RESOURCE cannot keep all capabilities.
sed -i 's/^root default capabilities = .*/root default capabilities = no/' "$prefix/etc/apptainer/apptainer.conf"
ln -sf "$prefix/usr/bin/apptainer" /usr/local/bin/apptainer
apptainer --version
