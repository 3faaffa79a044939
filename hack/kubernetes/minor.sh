#!/usr/bin/env bash
# Prints a folder that holds kube-apiserver of another minor version and the usual etcd: hack/kubernetes/minor.sh 1.30
# Built from the Go module proxy's newest patch, once, in about ten minutes; what it was built from stands in its `version`.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
wanted=${1:-}
[[ $wanted =~ ^1\.[0-9]+$ ]] || { echo "usage: minor.sh 1.30" >&2; exit 2; }

base=$("$here/assets.sh")
go=$("$here/go.sh")
# An older or newer Kubernetes may want another Go: it comes from the module proxy, checked as every module is.
export GOTOOLCHAIN=auto GOFLAGS=-mod=mod CGO_ENABLED=0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/steno/kubernetes
mkdir -p "$cache"
making=$(mktemp -d "$cache/making-XXXXXX")
trap 'rm -rf "$making"' EXIT
mkdir "$making/src"
cd "$making/src"
printf 'module steno.dev/hack/kubernetes/minor\n' >go.mod

version=$("$go" list -m -versions k8s.io/kubernetes | tr ' ' '\n' | grep -E "^v${wanted//./\\.}\.[0-9]+$" | sort -V | tail -n 1) || true
[[ -n $version ]] || { echo "the module proxy has no k8s.io/kubernetes $wanted" >&2; exit 1; }
build=$cache/$version
if [[ -x $build/kube-apiserver && -x $build/etcd ]]; then
  echo "kube-apiserver $version: $build" >&2
  echo "$build"
  exit 0
fi

echo "building kube-apiserver $version; this takes some minutes" >&2
theirs=$("$go" mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
{
  printf 'module steno.dev/hack/kubernetes/minor\n\n'
  grep -E '^go [0-9.]+$' "$theirs"
  printf '\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$version"
  # In their own tree these are folders; in the proxy, modules of the same patch.
  sed -nE "s#^\t(k8s.io/[a-z-]+) => \./staging/.*#\t\1 => \1 v0.${version#v1.}#p" "$theirs"
  printf ')\n'
} >go.mod
flags="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${wanted#1.}"
"$go" build -trimpath -buildvcs=false -ldflags "$flags" -o "$making/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver >&2
cd /
rm -rf "$making/src"
cp "$base/etcd" "$making/etcd"
mv -T "$making" "$build" 2>/dev/null || [[ -x $build/kube-apiserver ]]
echo "kube-apiserver $version: $build" >&2
echo "$build"
