#!/usr/bin/env bash
# Prints a folder that holds kube-apiserver and etcd, and says on stderr where they come from.
# Precedence: KUBEBUILDER_ASSETS, the newest that setup-envtest keeps, an earlier build, a download by setup-envtest where it is installed, a build of the Go modules named in go.mod (about 5 minutes, cached).
#   --find   builds nothing: exit 1 when there are none
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
find_only=0
if [[ ${1:-} == --find ]]; then find_only=1; fi

found() {
  echo "kube-apiserver and etcd: $2" >&2
  echo "$1"
  exit 0
}
has_both() { [[ -x $1/kube-apiserver && -x $1/etcd ]]; }

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  has_both "$KUBEBUILDER_ASSETS" || { echo "KUBEBUILDER_ASSETS names $KUBEBUILDER_ASSETS, which does not hold both" >&2; exit 1; }
  found "$KUBEBUILDER_ASSETS" "KUBEBUILDER_ASSETS"
fi

while read -r folder; do
  if has_both "$folder"; then found "$folder" "$folder (setup-envtest)"; fi
done < <(ls -d "${XDG_DATA_HOME:-$HOME/.local/share}"/kubebuilder-envtest/k8s/* 2>/dev/null | sort -rV)

# Another go.mod is another build.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/steno/kubernetes
build=$cache/$(sha256sum "$here/go.mod" | cut -c1-16)
if has_both "$build"; then found "$build" "$build (built from $here/go.mod)"; fi
if ((find_only)); then
  echo "no kube-apiserver and etcd: set KUBEBUILDER_ASSETS, run setup-envtest use, or run hack/kubernetes/assets.sh, which builds them" >&2
  exit 1
fi

version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$here/go.mod")
minor=$(echo "$version" | cut -d. -f2)
if command -v setup-envtest >/dev/null && folder=$(setup-envtest use "1.$minor.x" --print path) && has_both "$folder"; then found "$folder" "$folder (fetched by setup-envtest)"; fi

go=$("$here/go.sh")
echo "building kube-apiserver $version and etcd with $("$go" version); this takes some minutes" >&2
mkdir -p "$cache"
making=$(mktemp -d "$cache/making-XXXXXX")
trap 'rm -rf "$making"' EXIT
flags="-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
(cd "$here" && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOBIN=$making "$go" install -trimpath -ldflags "$flags" k8s.io/kubernetes/cmd/kube-apiserver go.etcd.io/etcd/server/v3) >&2
# The package of etcd is called server.
mv "$making/server" "$making/etcd"
# Another build of the same may have been quicker.
mv -T "$making" "$build" 2>/dev/null || has_both "$build"
found "$build" "$build (built from $here/go.mod)"
