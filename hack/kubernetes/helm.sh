#!/usr/bin/env bash
# Prints the path of a helm, and says on stderr where it comes from.
# Precedence: STENO_HELM, else a build of the Go module named in helm/go.mod (about 2 minutes, cached). The machine's own is not taken: golden files depend on the version.
#   --find   builds nothing: exit 1 when there is none
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")

if [[ -n ${STENO_HELM:-} ]]; then
  [[ -x $STENO_HELM ]] || { echo "STENO_HELM names $STENO_HELM, which is no program" >&2; exit 1; }
  echo "helm: STENO_HELM" >&2
  echo "$STENO_HELM"
  exit 0
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/steno/helm
build=$cache/$(sha256sum "$here/helm/go.mod" | cut -c1-16)
if [[ ! -x $build/helm ]]; then
  if [[ ${1:-} == --find ]]; then
    echo "no helm: set STENO_HELM, or run hack/kubernetes/helm.sh, which builds it" >&2
    exit 1
  fi
  go=$("$here/go.sh")
  echo "building helm with $("$go" version); this takes some minutes" >&2
  mkdir -p "$cache"
  making=$(mktemp -d "$cache/making-XXXXXX")
  trap 'rm -rf "$making"' EXIT
  # What it takes a cluster for when it asks none; otherwise 1.20.
  flags='-s -w'
  for package in chartutil lint/rules; do flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=34"; done
  (cd "$here/helm" && GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOBIN=$making "$go" install -trimpath -ldflags "$flags" helm.sh/helm/v3/cmd/helm) >&2
  # Another build of the same may have been quicker.
  mv -T "$making" "$build" 2>/dev/null || [[ -x $build/helm ]]
fi
echo "helm: $build (built from $here/helm/go.mod)" >&2
echo "$build/helm"
