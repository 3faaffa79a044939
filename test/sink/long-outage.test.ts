/**
 * Firehose refuses for six hours while clients call. The hours are those of the recorder: its clock and all its timers run a thousand times as fast
 * (libfaketime). The network, the disk, the clients, the server and AWS live by the machine's clock.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { expect } from 'chai'

import { directoryArchive } from '../../src/archive/directory.ts'
import { verify } from '../../src/archive/verify.ts'
import { readMemberHeader } from '../../src/record/member.ts'
import { startAwsDouble, STATIC_KEYS, STREAM } from '../support/aws/double.ts'
import type { AwsDouble } from '../support/aws/double.ts'
import { awsEnvironment } from '../support/aws/environment.ts'
import { callWith } from '../support/crash/calls.ts'
import { runClients } from '../support/crash/clients.ts'
import { openJournal } from '../support/crash/journal.ts'
import type { Journal } from '../support/crash/journal.ts'
import { countSeen, findMissed } from '../support/crash/oracle.ts'
import { startProgram } from '../support/crash/program.ts'
import type { Program } from '../support/crash/program.ts'
import { createRandom } from '../support/crash/random.ts'
import { startServer } from '../support/crash/server.ts'
import { createOwnClock } from '../support/own-clock.ts'
import type { OwnClock } from '../support/own-clock.ts'
import type { Upstream } from '../support/recorder.ts'

const OUTAGE_S = 6 * 3600
/** Noise, so that a segment is full before it is large. */
const BLOB_BYTES = 24 * 1024
const MAX_RESIDENT_MB = 140
/** Places by which a segment may arrive out of order: a bound on what is under way at once, with room. */
const IN_FLIGHT = 8
/** As `src/inject/recorder-container.ts` gives it to a recorder of 192 MiB. */
const INJECTED_HEAP = '--max-old-space-size=96'

describe('steno up --sink firehose, when Firehose refuses for six hours', () => {
  let folder: string
  let clock: OwnClock
  let aws: AwsDouble | undefined
  let server: Upstream | undefined
  let program: Program | undefined
  let journals: Journal[] = []

  beforeEach(async function () {
    folder = await mkdtemp(join(tmpdir(), 'outage-'))
    const found = createOwnClock(folder)
    if (found === undefined) {
      if (process.env['CI'] === 'true') throw new Error('libfaketime is missing: install the Debian package libfaketime')
      console.error('      skipped: libfaketime is missing; install the Debian package libfaketime')
      this.skip()
    }
    clock = found
    journals = await Promise.all(['clients', 'server'].map(name => openJournal(join(folder, name))))
  })
  afterEach(async () => {
    await program?.kill()
    await server?.close()
    await aws?.close()
    await Promise.all(journals.map(journal => journal.close()))
    await rm(folder, { recursive: true, force: true })
  })

  it('loses nothing, delivers in order what has gathered, and stays within its memory', async () => {
    const [ofClients, ofServer] = journals as [Journal, Journal]
    const upstream = (server = await startServer(ofServer))
    const firehose = (aws = await startAwsDouble())
    const spool = join(folder, 'spool')
    const steno = (program = startProgram({ upstream: upstream.url, sink: ['--sink', `firehose://${STREAM}?region=us-east-1&endpoint=${firehose.endpoint}`], env: { ...awsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }), ...clock.env, NODE_OPTIONS: INJECTED_HEAP }, spool, lingerSeconds: 5 }))
    const url = await steno.url
    if (url === undefined) throw new Error(steno.said())
    const load = new AbortController()
    firehose.outage = true
    const clients = runClients({ url, journal: ofClients, random: createRandom(6), life: 0, clients: 4, thinkMs: () => 20, draw: (_, number) => callWith(`call-${number}`, randomBytes(BLOB_BYTES).toString('base64')), signal: load.signal, nextCall: counter(), onAnswer: () => {} })
    await clock.pass(OUTAGE_S, async () => await fetch(url).catch(() => {}))
    load.abort()
    await clients
    const { admin } = JSON.parse(/\{.*"msg":"recording".*\}/.exec(steno.said())?.[0] ?? '{}') as { readonly admin: string }
    const metrics = await (await fetch(`${admin}/metrics`)).text()
    const attempts = [...metrics.matchAll(/steno_ship_records_total\{result="(?!accepted)\w+"\} (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
    expect(firehose.calls).to.deep.equal([])

    let residentMb = 0
    const sampler = setInterval(() => (residentMb = Math.max(residentMb, memoryOf(steno.pid))), 20)
    firehose.outage = false
    await until(async () => /^steno_spool_bytes 0$/m.test(await (await fetch(`${admin}/metrics`)).text()))
    await steno.stop().finally(() => clearInterval(sampler))
    const delivered = join(folder, 'delivered')
    const ends = await unpack(firehose, delivered)
    console.error(`      ${attempts} records were not accepted in the outage; ${ends.length} segments delivered, ${residentMb.toFixed(0)} MB resident at most`)
    // At this pace most calls run out of time before the network has carried them.
    expect(attempts).to.be.greaterThan(10)
    expect(ends.length).to.be.greaterThan(10)
    // Several are under way at once, and one that was refused comes after those beside it; readers order by seq.
    const sorted = ends.toSorted((a, b) => a - b)
    for (const [index, end] of ends.entries()) expect(Math.abs(sorted.indexOf(end) - index), `segment up to ${end}`).to.be.at.most(IN_FLIGHT)
    expect(residentMb).to.be.lessThan(MAX_RESIDENT_MB)
    expect(await readdir(spool)).to.deep.equal([])
    await Promise.all(journals.map(journal => journal.synced()))
    const entries = (await Promise.all(journals.map(journal => journal.read()))).flat()
    expect(countSeen(entries).answersReceived).to.be.greaterThan(100)
    expect(await findMissed(delivered, entries)).to.deep.equal([])
    expect((await verify({ archive: await directoryArchive(delivered) }, { now: Date.now })).verdict).to.equal('consistent')
  }).timeout(180_000)
})

/** What takes up to the longest wait between two attempts. */
async function until(reached: () => Promise<boolean>): Promise<void> {
  while (!(await reached())) await wait(100)
}

function counter(): () => number {
  let count = 0
  return () => count++
}

/** MB. */
function memoryOf(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

/** Writes what was delivered, one file an object. @returns the last seq of each, in the order in which they came */
async function unpack({ bucket }: AwsDouble, folder: string): Promise<readonly number[]> {
  await mkdir(folder)
  const ends: number[] = []
  for (const [key, versions] of [...bucket.keys].sort(([a], [b]) => (basename(a) < basename(b) ? -1 : 1))) {
    const bytes = versions[0]?.bytes
    const header = bytes === undefined ? undefined : readMemberHeader(bytes)
    if (bytes === undefined || typeof header !== 'object') throw new Error(`${key} is no member`)
    ends.push(header.index.lastSeq)
    await writeFile(join(folder, basename(key)), bytes)
  }
  return ends
}
