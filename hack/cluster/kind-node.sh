#!/usr/bin/env bash
# What the scenario needs of a node, for the one of kind: kill ID, kubelet stop|start.
set -euo pipefail
node=steno-control-plane
case ${1:-} in
  kill) docker exec "$node" ctr --namespace k8s.io tasks kill --signal SIGKILL "${2:?which container}" ;;
  kubelet) docker exec "$node" systemctl "${2:?stop or start}" kubelet ;;
  *) echo "kill ID, or kubelet stop|start" >&2; exit 2 ;;
esac
