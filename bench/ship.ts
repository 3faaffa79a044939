/**
 * What shipping to Firehose costs, against a Firehose that only counts: what would be billed, processor and memory while a backlog goes out, and
 * what `--durability off-pod` adds to a call when the sink is 20 ms away.
 */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { FirehoseCounts } from './peers/firehose.ts'
import { median, round } from './support/figures.ts'
import type { LoadResult } from './support/load.ts'
import { residentMb, startLoad, startPeer, startSteno, stopProcess } from './support/processes.ts'
import type { Peer, StenoPeer } from './support/processes.ts'

const ROUND_TRIP_MS = 20
const FULL = { billedSeconds: 60, backlogMb: 1024, latencySeconds: 10, idleMs: 3000 }
const QUICK = { billedSeconds: 12, backlogMb: 64, latencySeconds: 2, idleMs: 1000 }
/** Rows of an answer: about 2 KB, and about 100 KB. */
const USUAL_ROWS = 8
const LARGE_ROWS = 420
const USUAL_RATE = 10
/** About what a release of the usual answer is. */
const PROBE_BYTES = 1200
const MIB = 1024 * 1024

export async function runShipBench({ quick, say }: { readonly quick: boolean; readonly say: (line: string) => void }): Promise<object> {
  const effort = quick ? QUICK : FULL
  const directory = await mkdtemp(join(tmpdir(), 'steno-bench-'))
  const running: { readonly child: Peer['child'] }[] = []
  const keep = <T extends { readonly child: Peer['child'] }>(peer: T): T => {
    running.push(peer)
    return peer
  }
  const recorder = async (name: string, upstream: Peer, firehose: Peer, ...flags: readonly string[]): Promise<StenoPeer> =>
    keep(await startSteno(`http://127.0.0.1:${upstream.port}/mcp`, join(directory, name), ['--sink', `firehose://bench?region=us-east-1&endpoint=http://127.0.0.1:${firehose.port}`, '--spool-max', '4Gi', ...flags]))
  try {
    const near = keep(await startPeer('peers/firehose.ts', ['0']))
    const far = keep(await startPeer('peers/firehose.ts', [String(ROUND_TRIP_MS)]))
    const usual = keep(await startPeer('peers/rows.ts', [String(USUAL_ROWS)]))
    const large = keep(await startPeer('peers/rows.ts', [String(LARGE_ROWS)]))
    const load = keep(startLoad())

    say(`billing: ${USUAL_RATE} calls/s for ${effort.billedSeconds} s, defaults`)
    const steady = await recorder('steady', usual, near)
    await new Promise(next => setTimeout(next, effort.idleMs))
    const idleMb = residentMb(steady.child)
    const { calls } = await load.run({ port: steady.port, tool: 'json', connections: 4, seconds: effort.billedSeconds, rate: USUAL_RATE })
    await steady.drain()
    await stopProcess(steady.child)
    const billed = await countsOf(near)

    say(`off the pod: ${ROUND_TRIP_MS} ms to the sink, ${effort.latencySeconds} s`)
    const order = { tool: 'json', connections: 4, seconds: effort.latencySeconds, rate: USUAL_RATE } as const
    const direct = await load.run({ ...order, port: usual.port })
    const through = async (durability: string): Promise<LoadResult> => {
      const peer = await recorder(durability, usual, far, '--durability', durability)
      await load.run({ ...order, port: peer.port, seconds: 1 })
      const result = await load.run({ ...order, port: peer.port })
      await stopProcess(peer.child)
      return result
    }
    const local = await through('local')
    const probing = new AbortController()
    const roundTrips = probe(far.port, probing.signal)
    const waited = await through('off-pod')
    probing.abort()
    const roundTripMs = median(await roundTrips)

    say(`catching up ${effort.backlogMb} MiB`)
    const outage = keep(await startPeer('peers/firehose.ts', ['0']))
    await fetch(`http://127.0.0.1:${outage.port}/down`, { method: 'PUT' })
    const killed = await recorder('behind', large, outage)
    while ((await killed.metric('steno_spool_bytes')) < effort.backlogMb * MIB) await load.run({ port: killed.port, tool: 'json', connections: 8, seconds: 2 })
    // What the load left in memory is another bench's business.
    const ended = once(killed.child, 'exit')
    killed.child.kill('SIGKILL')
    await ended
    const behind = await recorder('behind', large, outage)
    await new Promise(next => setTimeout(next, effort.idleMs))
    const before = { cpuMs: await cpuMs(behind.child), fromMs: performance.now() }
    const waitingMb = residentMb(behind.child)
    let catchUpMb = waitingMb
    const sampler = setInterval(() => (catchUpMb = Math.max(catchUpMb, residentMb(behind.child))), 50)
    await fetch(`http://127.0.0.1:${outage.port}/up`, { method: 'PUT' })
    while ((await behind.metric('steno_spool_bytes')) > 0) await new Promise(next => setTimeout(next, 200))
    clearInterval(sampler)
    const seconds = (performance.now() - before.fromMs) / 1000
    const caughtUp = await countsOf(outage)
    const spentMs = (await cpuMs(behind.child)) - before.cpuMs
    await stopProcess(behind.child)

    return {
      bench: 'ship',
      idleRssMb: round(idleMb),
      billedToPayload: round(billed.billedBytes / billed.payloadBytes),
      payloadBytesPerCall: Math.round(billed.payloadBytes / calls),
      recordsPerSecond: round(billed.records / effort.billedSeconds),
      roundTripMs: round(roundTripMs),
      localAddedMs: round(local.p50Ms - direct.p50Ms),
      offPodAddedMs: round(waited.p50Ms - direct.p50Ms),
      offPodAddedPerReleaseBeyondRoundTripMs: round((waited.p50Ms - direct.p50Ms) / 2 - roundTripMs),
      offPodAddedPerReleaseBeyondLocalAndRoundTripMs: round((waited.p50Ms - local.p50Ms) / 2 - roundTripMs),
      catchUpPayloadMb: round(caughtUp.payloadBytes / MIB),
      catchUpMbPerSecond: round(caughtUp.payloadBytes / MIB / seconds),
      outageRssMb: round(waitingMb),
      catchUpRssMb: round(catchUpMb),
      cpuMsPerMb: round(spentMs / (caughtUp.payloadBytes / MIB)),
    }
  } finally {
    for (const { child } of running) child.kill('SIGKILL')
    await rm(directory, { recursive: true, force: true })
  }
}

/** What a bare client waits for the same Firehose in the meantime, ms a call, over a connection that is kept. */
async function probe(port: number, signal: AbortSignal): Promise<readonly number[]> {
  const agent = new Agent({ keepAlive: true })
  const body = JSON.stringify({ DeliveryStreamName: 'bench', Records: [{ Data: gzipSync(randomBytes(PROBE_BYTES)).toString('base64') }] })
  const waits: number[] = []
  while (!signal.aborted) {
    const since = performance.now()
    await new Promise<void>((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port, method: 'POST', agent, headers: { 'Content-Length': body.length } }, answer => answer.resume().on('end', resolve))
      outgoing.on('error', reject).end(body)
    })
    waits.push(performance.now() - since)
    await new Promise(next => setTimeout(next, ROUND_TRIP_MS))
  }
  agent.destroy()
  return waits
}

async function countsOf(peer: Peer): Promise<FirehoseCounts> {
  return (await (await fetch(`http://127.0.0.1:${peer.port}/`)).json()) as FirehoseCounts
}

/** User and system time of all threads; Linux only. */
async function cpuMs(child: Peer['child']): Promise<number> {
  const fields = (await readFile(`/proc/${child.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
  // Clock ticks are a hundredth of a second on every Linux that Node runs on.
  return (Number(fields[11]) + Number(fields[12])) * 10
}
