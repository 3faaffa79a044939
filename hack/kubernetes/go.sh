#!/usr/bin/env bash
# Prints a Go command that is new enough: the machine's, else the toolchain from the Go module proxy, checked and cached.
set -euo pipefail
need=1.24
version=go1.24.9
# Of the module golang.org/toolchain, for x86-64.
sum=h1:XCaHFxbYbAFzirf0FlQ6XUJ3WM+yR7FdDHZvREoPVDI=

if command -v go >/dev/null; then
  have=$(GOTOOLCHAIN=local go env GOVERSION)
  if [[ $(printf '%s\n' "go$need" "$have" | sort -V | head -n 1) == "go$need" ]]; then
    command -v go
    exit 0
  fi
fi

platform=linux-amd64
[[ $(uname -m) == x86_64 ]] || { echo "install Go $need or later" >&2; exit 1; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/steno/$version.$platform
if [[ ! -x $cache/bin/go ]]; then
  command -v python3 >/dev/null || { echo "install Go $need or later, or python3 so that it can be fetched" >&2; exit 1; }
  echo "fetching $version from the Go module proxy" >&2
  mkdir -p "$(dirname "$cache")"
  making=$(mktemp -d "$cache.making-XXXXXX")
  trap 'rm -rf "$making"' EXIT
  python3 - "golang.org/toolchain@v0.0.1-$version.$platform" "$sum" "$making" <<'PY'
import base64, hashlib, os, sys, urllib.request, zipfile

module, expected, folder = sys.argv[1:]
proxy = (os.environ.get('GOPROXY') or 'https://proxy.golang.org').split(',')[0].split('|')[0].rstrip('/')
path, version = module.split('@')
archive = os.path.join(folder, 'toolchain.zip')
with urllib.request.urlopen(f'{proxy}/{path}/@v/{version}.zip', timeout=120) as answer, open(archive, 'wb') as out:
    while chunk := answer.read(1 << 20):
        out.write(chunk)
with zipfile.ZipFile(archive) as files:
    names = sorted(files.namelist())
    # Hash1 of golang.org/x/mod/sumdb/dirhash.
    lines = ''.join(f'{hashlib.sha256(files.read(name)).hexdigest()}  {name}\n' for name in names)
    found = 'h1:' + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()
    if found != expected:
        sys.exit(f'{module} is {found}, not {expected}')
    for name in names:
        target = os.path.join(folder, name.removeprefix(f'{module}/'))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with files.open(name) as source, open(target, 'wb') as out:
            out.write(source.read())
        if '/bin/' in name or '/pkg/tool/' in name:
            os.chmod(target, 0o755)
os.remove(archive)
PY
  mv -T "$making" "$cache" 2>/dev/null || [[ -x $cache/bin/go ]]
fi
echo "$cache/bin/go"
