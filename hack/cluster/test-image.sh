#!/usr/bin/env bash
# The image of the scenario's MCP server, as an OCI archive: this machine's Node, its libraries and test/cluster/program.ts in one file.
#   test-image.sh [ARCHIVE]
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
archive=$(readlink -m "${1:-$top/steno-test-image.tar}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
node=$(readlink -f "$top/node_modules/.bin/node")
mkdir -p "$work/root/usr/bin"
cp "$node" "$work/root/usr/bin/node"
for library in $(ldd "$node" | sed -n 's#.*[[:space:]]\(/[^ ]*\) (0x.*#\1#p'); do
  mkdir -p "$work/root$(dirname "$library")"
  cp -L "$library" "$work/root$library"
done
"$top/node_modules/.bin/esbuild" "$top/test/cluster/program.ts" --bundle --platform=node --format=esm --target=node24 --log-level=warning \
  --banner:js="import{createRequire}from'node:module';const require=createRequire(import.meta.url);" --outfile="$work/root/program.mjs"
printf 'FROM scratch\nCOPY root /\nUSER 65532:65532\nENV PATH=/usr/bin\nENTRYPOINT ["/usr/bin/node", "/program.mjs"]\n' >"$work/Containerfile"
buildah --root "$work/storage" --runroot "$work/run" bud --quiet --timestamp 0 --format oci --tag localhost/steno-test:0.0.0 -f "$work/Containerfile" "$work" >/dev/null
rm -f "$archive"
buildah --root "$work/storage" --runroot "$work/run" push --quiet localhost/steno-test:0.0.0 "oci-archive:$archive:localhost/steno-test:0.0.0"
echo "$archive" >&2
