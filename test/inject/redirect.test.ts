import { spawnSync } from 'node:child_process'

import { expect } from 'chai'

import { RECORDER_ADDRESS } from '../../src/inject/marks.ts'
import { redirectRules } from '../../src/inject/redirect.ts'

/** Servers that say on which port they were reached, and a client that says what it was told, or why not: `ask HOST PORT [FROM]`. */
const SERVE = `
const net = require("node:net")
const places = process.argv.slice(1).map(place => place.split("@"))
let ready = 0
for (const [port, host] of places) net.createServer(socket => socket.end(port)).listen({ port, ...(host === "*" ? {} : { host }) }, () => ++ready === places.length && console.log("ready"))`
const ASK = `
const [host, port, localAddress] = process.argv.slice(1)
require("node:net").connect({ host, port, localAddress }).on("data", told => console.log(String(told))).on("error", error => console.log(error.code))`

/**
 * A network of its own with a neighbour in another, joined by a cable. The app has 8080 and 8081 on every address, 8082 only on the pod's of IPv4, and
 * the recorder 15080 and up, as it listens. The neighbour has a server on 8080, too.
 */
const SCRIPT = `
set -e
ip link set lo up
unshare -n sleep 40 & neighbour=$!
until [ "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add inside type veth peer name outside
ip link set outside netns $neighbour
ip addr add 10.9.0.1/24 dev inside; ip addr add fd09::1/64 dev inside nodad; ip link set inside up
neighbourly="nsenter -t $neighbour -n"
$neighbourly sh -c 'ip addr add 10.9.0.2/24 dev outside; ip addr add fd09::2/64 dev outside nodad; ip link set outside up; ip link set lo up'
nft "$RULES"
# A container that is started again does it again.
nft "$RULES"
exec 3< <(exec "$NODE" -e "$SERVE" 8080@:: 8081@:: 8082@10.9.0.1 15080@* 15081@* 15082@*); servers=$!
read -r ready <&3
exec 4< <(exec $neighbourly "$NODE" -e "$SERVE" 8080@:: 15080@*); others=$!
read -r ready <&4
while read -r where host port from; do
  if [ $where = outside ]; then as=$neighbourly; else as=; fi
  $as "$NODE" -e "$ASK" $host $port $from
done <<< "$QUESTIONS"
kill $neighbour $servers $others
`

const PORTS = [8080, 8081, 8082].map((port, index) => ({ port, listen: 15_080 + index }))
const OWN = RECORDER_ADDRESS

/** Runs the questions, each `inside|outside HOST PORT [FROM]`, in one such network. */
function answers(questions: readonly string[]): readonly string[] {
  const { stdout, stderr } = spawnSync('unshare', ['-n', 'bash', '-c', SCRIPT], { encoding: 'utf8', timeout: 40_000, env: { ...process.env, NODE: process.execPath, RULES: redirectRules(PORTS), SERVE, ASK, QUESTIONS: questions.join('\n') } })
  const lines = stdout.trim().split('\n')
  if (lines.length !== questions.length) throw new Error(`${lines.length} answers to ${questions.length} questions: ${stderr}`)
  return lines
}

describe('redirectRules(), in a real network', function () {
  this.timeout(60_000)
  let told: ReadonlyMap<string, string>
  before(function () {
    const missing = ['nft', 'ip', 'nsenter'].filter(program => spawnSync(program, ['--version']).error !== undefined)
    if (missing.length > 0) {
      if (process.env['CI'] === 'true') throw new Error(`missing: ${missing.join(', ')} (Debian packages nftables, iproute2, util-linux)`)
      return this.skip()
    }
    // A machine that lets nobody make a network cannot prove it, whatever is installed.
    if (spawnSync('unshare', ['-n', 'nft', 'list', 'ruleset']).status !== 0) return this.skip()
    const lines = answers(asked.map(([question]) => question))
    told = new Map(asked.map(([question], index) => [question, lines[index] ?? '']))
  })

  const CASES: Readonly<Record<string, readonly (readonly [question: string, answer: string])[]>> = {
    'lead what comes from outside to the recorder, each port to its own': [
      ['outside 10.9.0.1 8080', '15080'],
      ['outside 10.9.0.1 8081', '15081'],
      ['outside 10.9.0.1 8082', '15082'],
    ],
    'lead probes from outside to the app': [
      ['outside 10.9.0.1 15100', '8080'],
      ['outside 10.9.0.1 15101', '8081'],
      ['outside 10.9.0.1 15102', '8082'],
    ],
    'lead what comes from inside to the recorder: by localhost, as port-forward does, by the address of the pod, and from Envoy': [
      ['inside 127.0.0.1 8080', '15080'],
      ['inside 127.0.0.1 8081', '15081'],
      ['inside 127.0.0.1 8082', '15082'],
      ['inside 10.9.0.1 8080', '15080'],
      ['inside 10.9.0.1 8082', '15082'],
      ['inside 10.9.0.1 8080 127.0.0.6', '15080'],
      [`inside ${OWN} 8080`, '15080'],
    ],
    'lead the recorder itself to the app': [
      [`inside 127.0.0.1 8080 ${OWN}`, '8080'],
      [`inside 127.0.0.1 8081 ${OWN}`, '8081'],
    ],
    'do all that with IPv6, too': [
      ['outside fd09::1 8080', '15080'],
      ['outside fd09::1 8081', '15081'],
      ['outside fd09::1 15100', '8080'],
      ['inside ::1 8080', '15080'],
      ['inside ::1 8081', '15081'],
      ['inside fd09::1 8080', '15080'],
      ['inside ::1 8080 ::1', '15080'],
      ['inside fd09::2 8080', '8080'],
    ],
    // The app does not listen there: nothing but the recorder can say it.
    'lead to the recorder by an address that the app does not have': [['inside ::1 8082', '15082']],
    'lead nobody past by the numbers of probes who asks from inside': [
      ['inside 127.0.0.1 15100', 'ECONNREFUSED'],
      ['inside ::1 15100', 'ECONNREFUSED'],
    ],
    'leave the ports of other pods alone': [
      ['inside 10.9.0.2 8080', '8080'],
      ['outside 127.0.0.1 8080', '8080'],
    ],
  }
  const asked = Object.values(CASES).flat()

  for (const [does, questions] of Object.entries(CASES)) {
    it(does, () => {
      expect(questions.map(([question]) => [question, told.get(question)])).to.deep.equal(questions)
    })
  }
})
