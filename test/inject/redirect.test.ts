import { spawnSync } from 'node:child_process'

import { expect } from 'chai'

import { redirectRules } from '../../src/inject/redirect.ts'

/** A network of its own with a neighbour in another, joined by a cable; two servers that say on which port they were reached. */
const SCRIPT = `
set -e
ip link set lo up
unshare -n sleep 30 & neighbour=$!
until [ "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add inside type veth peer name outside
ip link set outside netns $neighbour
ip addr add 10.9.0.1/24 dev inside; ip link set inside up
nsenter -t $neighbour -n sh -c 'ip addr add 10.9.0.2/24 dev outside; ip link set outside up; ip link set lo up'
nft "$RULES"
# A container that is started again does it again.
nft "$RULES"
coproc servers { exec "$NODE" -e 'const net = require("net"); let ready = 0; for (const port of [8080, 15080]) net.createServer(socket => socket.end(port + "\\n")).listen(port, () => ++ready === 2 && console.log("ready"))'; }
read -r ready <&"\${servers[0]}"
ask() { "$@" bash -c 'exec 3<>/dev/tcp/'"$address"'/'"$port"' && read -r answer <&3 && echo "$answer"'; }
neighbourly="nsenter -t $neighbour -n"
address=10.9.0.1 port=8080; echo "outside, the app's port: $(ask $neighbourly)"
address=10.9.0.1 port=15100; echo "outside, the probe's port: $(ask $neighbourly)"
address=127.0.0.1 port=8080; echo "the recorder itself: $(ask env)"
address=10.9.0.1 port=8080; echo "inside, by the pod's address: $(ask env)"
kill $neighbour $servers_PID
`

describe('redirectRules(), in a real network', () => {
  it('lead what comes from outside to the recorder, probes to the app, and leave the pod itself alone', function () {
    this.timeout(60_000)
    const missing = ['nft', 'ip', 'nsenter'].filter(program => spawnSync(program, ['--version']).error !== undefined)
    if (missing.length > 0) {
      if (process.env['CI'] === 'true') throw new Error(`missing: ${missing.join(', ')} (Debian packages nftables, iproute2, util-linux)`)
      return this.skip()
    }
    // A machine that lets nobody make a network cannot prove it, whatever is installed.
    if (spawnSync('unshare', ['-n', 'nft', 'list', 'ruleset']).status !== 0) return this.skip()
    const { stdout, stderr } = spawnSync('unshare', ['-n', 'bash', '-c', SCRIPT], { encoding: 'utf8', timeout: 40_000, env: { ...process.env, NODE: process.execPath, RULES: redirectRules([{ port: 8080, listen: 15_080 }]) } })
    expect(stdout.trim().split('\n'), stderr).to.deep.equal(["outside, the app's port: 15080", "outside, the probe's port: 8080", 'the recorder itself: 8080', "inside, by the pod's address: 8080"])
  })
})
