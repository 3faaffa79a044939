/** What runs in pods listens on IPv6 and IPv4, and on IPv4 alone where there is nothing else. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

import { expect } from 'chai'

import { call, httpUpstream, readRecorded, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname
const HEADERS = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'user-agent': 'test' }

/** Runs a program in a network of its own: a recorder whose server is away, `steno ready`, and a client that says what it was told. */
const IN_A_POD = `
set -e
ip link set lo up
"$NODE" "$MAIN" record --port=15080=1 '--admin=*:15088' --archive="$FOLDER" --linger=0 & recorder=$!
"$NODE" "$MAIN" ready --admin=127.0.0.1:15088
for port in 15080 15088; do "$NODE" -e 'fetch("http://127.0.0.1:" + process.argv[1] + "/readyz").then(({ status }) => console.log(status), ({ cause }) => console.log(cause.code))' $port; done
kill $recorder
wait $recorder
`
/** Address family inet6 is refused as by a kernel that was started with ipv6.disable=1: EAFNOSUPPORT (97) for socket(AF_INET6 = 10). */
const WITHOUT_INET6 = `
import ctypes, os, struct, sys
number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, 10), (0x06, 0, 0, 0x00050000 | 97), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(38, 1, 0, 0, 0) != 0 or prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program))) != 0: sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
`

describe('both families of addresses', () => {
  let server: Upstream
  let recorder: RecorderUnderTest
  before(async function () {
    if (spawnSync('ip', ['-6', 'route', 'get', '::1']).status !== 0) return this.skip()
    server = await httpUpstream((_req, res) => void res.writeHead(200, { 'content-type': 'application/json' }).end(result(1)))
    recorder = await recorderBefore(server.url, { listen: { port: 0 }, admin: { port: 0 } })
  })
  after(async () => await recorder?.dispose())

  it('lead to one recorder, which writes each peer as what it is', async () => {
    const admin = new URL(recorder.adminUrl).port
    for (const host of ['127.0.0.1', '[::1]']) {
      expect((await fetch(`http://${host}:${recorder.port}/mcp`, { method: 'POST', headers: HEADERS, body: call(1) })).status).to.equal(200)
      expect((await fetch(`http://${host}:${admin}/livez`)).status).to.equal(200)
    }
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.start').map(({ peer }) => peer.replace(/\d+$/, 'PORT'))).to.deep.equal(['127.0.0.1:PORT', '[::1]:PORT'])
    expect(recorder.url).to.match(/^http:\/\/127\.0\.0\.1:\d+\//)
  })
})

describe('a pod without IPv6', function () {
  this.timeout(60_000)
  let folder: string
  before(async function () {
    if (spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up']).status !== 0) return this.skip()
    folder = await mkdtemp(join(tmpdir(), 'families-'))
  })
  after(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  /** @param before what runs the script @returns status of the recorder without its server, and of the admin port */
  const answers = async (name: string, before: readonly string[]): Promise<readonly string[]> => {
    const archive = join(folder, name)
    const program = spawn('unshare', ['-n', ...before, 'bash', '-c', IN_A_POD], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], NODE: process.execPath, MAIN, FOLDER: archive } })
    const [out, err] = await Promise.all([text(program.stdout), text(program.stderr), once(program, 'exit')])
    expect(out, err).to.match(/^\d+\n\d+\n$/)
    expect((await readRecorded(archive)).of('exchange.start').map(({ peer }) => peer.replace(/\d+$/, 'PORT'))).to.deep.equal(['127.0.0.1:PORT'])
    return out.trim().split('\n')
  }

  it('is recorded when it is switched off for its network', async () => {
    expect(await answers('off', ['sh', '-c', 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && exec "$@"', 'sh'])).to.deep.equal(['503', '200'])
  })

  it('is recorded when the kernel has none', async function () {
    const without = ['python3', '-c', WITHOUT_INET6]
    if (spawnSync(without[0] ?? '', [...without.slice(1), 'true']).status !== 0) return this.skip()
    const tried = spawnSync('python3', [...without.slice(1), process.execPath, '-e', 'require("node:net").createServer().on("error", error => console.log(error.code)).listen(0, "::")'], { encoding: 'utf8' })
    expect(tried.stdout).to.equal('EAFNOSUPPORT\n')
    expect(await answers('none', without)).to.deep.equal(['503', '200'])
  })
})
