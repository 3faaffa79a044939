/**
 * What recording costs: the same work directly, through `http-proxy` recording nothing, through `undici` recording nothing, and through
 * Steno recording everything. Runs alternate, and figures are medians over rounds, because machines are noisy: quote ratios.
 * Between its runs Steno may finish shipping; within them it ships as it would anyway.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { difference, median, ratio, round } from './support/figures.ts'
import type { LoadOrder, LoadResult } from './support/load.ts'
import { processorUs, residentMb, startLoad, startPeer, startSteno, stopProcess } from './support/processes.ts'
import type { Peer, StenoPeer } from './support/processes.ts'

const PEERS = ['direct', 'httpProxy', 'undici', 'steno'] as const
type PeerName = (typeof PEERS)[number]

interface Work {
  readonly name: string
  readonly order: Omit<LoadOrder, 'port' | 'seconds'>
}

/** Of one peer under one work; processor time a call, of all threads and of the one that runs the event loop. */
interface PeerResult extends LoadResult {
  readonly cpuUs: number
  readonly mainUs: number
}

const STEADY: Work = { name: 'steady', order: { tool: 'json', connections: 16, rate: 1000 } }
const FLAT_OUT: readonly Work[] = [
  { name: 'json16', order: { tool: 'json', connections: 16 } },
  { name: 'json64', order: { tool: 'json', connections: 64 } },
  { name: 'sse16', order: { tool: 'sse', connections: 16 } },
  { name: 'events', order: { tool: 'events', connections: 2 } },
]

const FULL = { rounds: 3, seconds: 2, steadySeconds: 4, warmSeconds: 1, starts: 3, idleMs: 1000 }
const QUICK = { rounds: 1, seconds: 0.3, steadySeconds: 0.5, warmSeconds: 0.2, starts: 1, idleMs: 100 }

export interface RecordOptions {
  readonly quick: boolean
  readonly say: (line: string) => void
}

export async function runRecordBench({ quick, say }: RecordOptions): Promise<object> {
  const effort = quick ? QUICK : FULL
  const directory = await mkdtemp(join(tmpdir(), 'steno-bench-'))
  const running: { readonly child: Peer['child'] }[] = []
  const keep = <T extends { readonly child: Peer['child'] }>(peer: T): T => {
    running.push(peer)
    return peer
  }
  try {
    const upstream = keep(await startPeer('peers/upstream.ts'))
    const origin = `http://127.0.0.1:${upstream.port}`
    const starts: number[] = []
    let steno: StenoPeer | undefined
    for (let i = 0; i < effort.starts; i++) {
      if (steno !== undefined) await stopProcess(steno.child)
      steno = keep(await startSteno(`${origin}/mcp`, join(directory, String(i))))
      starts.push(steno.startMs)
    }
    if (steno === undefined) throw new TypeError('starts must be at least 1')
    const peers: Record<PeerName, Peer> = { direct: upstream, httpProxy: keep(await startPeer('peers/http-proxy.ts', [origin])), undici: keep(await startPeer('peers/undici.ts', [origin])), steno }
    const load = keep(startLoad())
    await pause(effort.idleMs)
    const idleMb = residentMb(steno.child)

    let stenoCalls = 0
    let saturatedMb = 0
    const measure = async (work: Work, seconds: number): Promise<Record<PeerName, PeerResult>> => {
      const results: Partial<Record<PeerName, PeerResult>> = {}
      for (const name of PEERS) {
        const before = processorUs(peers[name].child)
        const result = await load.run({ ...work.order, port: peers[name].port, seconds })
        const after = processorUs(peers[name].child)
        results[name] = { ...result, cpuUs: (after.all - before.all) / result.calls, mainUs: (after.main - before.main) / result.calls }
        if (name !== 'steno') continue
        stenoCalls += result.calls
        if (work !== STEADY) saturatedMb = Math.max(saturatedMb, residentMb(steno.child))
        await steno.drain()
      }
      return results as Record<PeerName, PeerResult>
    }
    /** For each work and peer, one result a round. */
    const results = new Map<string, Record<PeerName, PeerResult>[]>()
    const rounds = async (work: Work, seconds: number): Promise<void> => {
      await measure(work, effort.warmSeconds)
      for (let i = 0; i < effort.rounds; i++) {
        const result = await measure(work, seconds)
        results.set(work.name, [...(results.get(work.name) ?? []), result])
        say(`${work.name} ${i + 1}/${effort.rounds}: ${PEERS.map(name => `${name} ${describeResult(work, result[name])}`).join(', ')}`)
      }
    }
    // The steady load comes first: memory at it must not be what saturation left behind.
    let loadMb = 0
    const sampler = setInterval(() => (loadMb = Math.max(loadMb, residentMb(steno.child))), 100)
    await rounds(STEADY, effort.steadySeconds).finally(() => clearInterval(sampler))
    for (const work of FLAT_OUT) await rounds(work, effort.seconds)

    const recorded = await steno.metric('steno_exchanges_total{outcome="ok"}')
    if (recorded < stenoCalls) throw new Error(`Steno answered ${stenoCalls} calls but recorded ${recorded} exchanges`)

    const values = (work: string, peer: PeerName, pick: (result: PeerResult) => number): number[] => (results.get(work) ?? []).map(result => pick(result[peer]))
    const speed = ({ calls, seconds }: LoadResult): number => calls / seconds
    const speedRatio = (work: string, other: PeerName): number => ratio(values(work, 'steno', speed), values(work, other, speed))
    const added = (peer: PeerName, pick: (result: PeerResult) => number): number => difference(values('steady', peer, pick), values('steady', 'direct', pick))
    const p50 = (result: LoadResult): number => result.p50Ms
    const p99 = (result: LoadResult): number => result.p99Ms
    return {
      bench: 'record',
      quick,
      node: process.version,
      cpus: availableParallelism(),
      rounds: effort.rounds,
      ratios: {
        stenoToHttpProxy: speedRatio('json16', 'httpProxy'),
        stenoToUndici: speedRatio('json16', 'undici'),
        stenoToHttpProxy64: speedRatio('json64', 'httpProxy'),
        stenoToUndici64: speedRatio('json64', 'undici'),
        stenoToHttpProxySse: speedRatio('sse16', 'httpProxy'),
        stenoToHttpProxyEvents: speedRatio('events', 'httpProxy'),
      },
      addedMs: {
        p50: added('steno', p50),
        p99: added('steno', p99),
        httpProxyP50: added('httpProxy', p50),
        httpProxyP99: added('httpProxy', p99),
        undiciP50: added('undici', p50),
        undiciP99: added('undici', p99),
      },
      callsPerSecond: Object.fromEntries(FLAT_OUT.map(({ name }) => [name, Object.fromEntries(PEERS.map(peer => [peer, round(median(values(name, peer, speed)))]))])),
      cpuUsPerCall: Object.fromEntries([STEADY, ...FLAT_OUT].map(({ name }) => [name, Object.fromEntries(PEERS.map(peer => [peer, { all: round(median(values(name, peer, each => each.cpuUs))), main: round(median(values(name, peer, each => each.mainUs))) }]))])),
      rssMb: { idle: round(idleMb), load: round(loadMb), saturated: round(saturatedMb) },
      startMs: round(median(starts)),
      recordedExchanges: recorded,
    }
  } finally {
    await Promise.all(running.map(({ child }) => stopProcess(child)))
    await rm(directory, { recursive: true, force: true })
  }
}

function describeResult(work: Work, result: PeerResult): string {
  const cpu = `${Math.round(result.mainUs)}/${Math.round(result.cpuUs)} µs`
  return work === STEADY ? `${result.p50Ms.toFixed(2)}/${result.p99Ms.toFixed(2)} ms ${cpu}` : `${Math.round(result.calls / result.seconds)}/s ${cpu}`
}

function pause(ms: number): Promise<void> {
  return new Promise(done => setTimeout(done, ms))
}
