#!/usr/bin/env bash
# npm run cluster:kind: a cluster for people with Docker, with the images of this clone in it. Needs docker, kind and kubectl.
# Prints what to export for npm run test:cluster. Taken down by: kind delete cluster --name steno
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
for program in docker kind kubectl; do command -v "$program" >/dev/null || { echo "$program is missing; without Docker, npm run cluster:node does on Linux" >&2; exit 1; }; done
kubeconfig=$top/steno-kind.kubeconfig
kind create cluster --config "$top/kind-config.yaml" --kubeconfig "$kubeconfig" --wait 120s >&2
"$here/../image/build.sh" "$top/steno-image.tar"
"$here/test-image.sh" "$top/steno-test-image.tar"
kind load image-archive --name steno "$top/steno-image.tar" "$top/steno-test-image.tar" >&2
# The tests call Services by their address.
address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' steno-control-plane)
gateway=$(docker network inspect kind --format '{{range .IPAM.Config}}{{.Gateway}} {{end}}' | tr ' ' '\n' | grep -m 1 -F .)
cat <<END
export KUBECONFIG=$kubeconfig STENO_TEST_HOST=$gateway STENO_NODE=$here/kind-node.sh STENO_LIGHT_IMAGE=registry.k8s.io/pause:3.10
sudo ip route replace 10.96.0.0/16 via $address
sudo ip route replace 10.244.0.0/16 via $address
END
