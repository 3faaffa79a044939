#!/usr/bin/env bash
# npm run cluster:test: a cluster of one node, the images of this clone, the whole scenario, and nothing left behind.
#   run.sh [FILE...]    only these of test/cluster/*.scenario.ts
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
cd "$top"
# The Node of the lock file, whatever the machine has.
PATH=$top/node_modules/.bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
KUBECONFIG=$("$here/node.sh" up)
export KUBECONFIG
trap '"$here/node.sh" down; rm -rf "$work"' EXIT
"$here/../image/build.sh" "$work/steno.tar"
"$here/test-image.sh" "$work/test.tar"
"$here/node.sh" load "$work/steno.tar" "$work/test.tar"
if (($# == 0)); then set -- test/cluster/*.scenario.ts; fi
node_modules/.bin/mocha --no-config --require ./test/support/leftovers.ts --timeout 300000 --reporter ./test/support/reporter.ts --exit "$@"
