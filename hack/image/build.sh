#!/usr/bin/env bash
# npm run image: the image as an OCI archive, without registry and without Docker: the last stage of the Containerfile over a root that is made here.
# Beside it lies what is in it (SBOM, CycloneDX). Needs buildah and nftables (Debian packages).
#   hack/image/build.sh [ARCHIVE [NAME:TAG]]
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
archive=$(readlink -m "${1:-$top/steno-image.tar}")
version=$("$top/node_modules/.bin/node" -p 'require(process.argv[1]).version' "$top/package.json")
name=${2:-steno:$version}

command -v buildah >/dev/null || { echo "buildah is missing: install it (Debian package buildah), or build the Containerfile with Docker" >&2; exit 1; }

work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah_() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }
trap 'rm -rf "$work"' EXIT

"$top/node_modules/.bin/node" "$here/root.ts" "$work/root" "${archive%.tar}.sbom.json"
# From the last FROM on, with this root in place of the other stage.
awk '/^FROM /{ text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$top/Containerfile" | sed 's#^COPY --from=build /root-of-image/ /$#COPY . /#' >"$work/Containerfile"
grep -q '^COPY \. /$' "$work/Containerfile" || { echo "the last stage of the Containerfile copies something else than expected" >&2; exit 1; }
buildah_ bud --quiet --timestamp 0 --format oci --tag "localhost/$name" -f "$work/Containerfile" "$work/root" >/dev/null
rm -f "$archive"
buildah_ push --quiet "localhost/$name" "oci-archive:$archive:localhost/$name"
echo "$archive: localhost/$name, $(du -h "$archive" | cut -f1) packed" >&2
