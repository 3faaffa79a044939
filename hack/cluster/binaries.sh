#!/usr/bin/env bash
# Prints a folder that holds kubelet, kube-controller-manager, kube-scheduler, kube-proxy, kubectl, and pause for sandboxes.
# Built from the Go modules named in ../kubernetes/node/go.mod (2 minutes after kube-apiserver, 7 without), and cached.
#   --find   builds nothing: exit 1 when there are none
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
modules=$here/../kubernetes/node
cache=${XDG_CACHE_HOME:-$HOME/.cache}/steno/node
build=$cache/$(cat "$modules/go.mod" "$here/pause/main.go" | sha256sum | cut -c1-16)
if [[ ! -x $build/kubelet ]]; then
  if [[ ${1:-} == --find ]]; then
    echo "no kubelet: run hack/cluster/binaries.sh, which builds it" >&2
    exit 1
  fi
  go=$("$here/../kubernetes/go.sh")
  version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$modules/go.mod")
  minor=$(echo "$version" | cut -d. -f2)
  echo "building the node parts of Kubernetes $version with $("$go" version); this takes some minutes" >&2
  mkdir -p "$cache"
  making=$(mktemp -d "$cache/making-XXXXXX")
  trap 'rm -rf "$making"' EXIT
  flags="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
  export GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOBIN=$making
  (cd "$modules" && nice -n 10 "$go" install -trimpath -ldflags "$flags" tool) >&2
  nice -n 10 "$go" build -trimpath -ldflags '-s -w' -o "$making/pause" "$here/pause/main.go" >&2
  # Another build of the same may have been quicker.
  mv -T "$making" "$build" 2>/dev/null || [[ -x $build/kubelet ]]
fi
echo "the node parts of Kubernetes: $build (built from hack/kubernetes/node/go.mod)" >&2
echo "$build"
