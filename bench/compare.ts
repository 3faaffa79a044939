/**
 * The same work through programs that others use to watch such traffic, when they are installed: `mitmdump -w` (PyPI: mitmproxy), which
 * writes flows to a file when they are over, and `mcp-proxy` (npm), which stands before a server on stdio and writes nothing.
 * Runs alternate; figures are medians over rounds. Not the same promise: neither waits for a disk.
 */

import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { difference, median, ratio, round } from './support/figures.ts'
import type { LoadResult } from './support/load.ts'
import { residentMb, startCommand, startLoad, startPeer, startSteno, stopProcess } from './support/processes.ts'
import type { Peer } from './support/processes.ts'

const FULL = { rounds: 3, seconds: 2, warmSeconds: 1 }
const QUICK = { rounds: 1, seconds: 0.3, warmSeconds: 0.2 }
const CONNECTIONS = 16
/** Calls a second that all of them keep up with. */
const STEADY_RATE = 50

/** Programs that are looked for on the PATH, and how to get them. */
const OTHERS = { mitmdump: 'pip install mitmproxy', 'mcp-proxy': 'npm install --global mcp-proxy' }

export async function runCompareBench({ quick, say }: { readonly quick: boolean; readonly say: (line: string) => void }): Promise<object> {
  const effort = quick ? QUICK : FULL
  const directory = await mkdtemp(join(tmpdir(), 'steno-compare-'))
  const running: Peer['child'][] = []
  const keep = <T extends { readonly child: Peer['child'] }>(peer: T): T => {
    running.push(peer.child)
    return peer
  }
  try {
    const upstream = keep(await startPeer('peers/upstream.ts'))
    const origin = `http://127.0.0.1:${upstream.port}`
    const peers = new Map<string, Peer>([
      ['direct', upstream],
      ['httpProxy', keep(await startPeer('peers/http-proxy.ts', [origin]))],
      ['steno', keep(await startSteno(`${origin}/mcp`, directory))],
    ])
    const missing: string[] = []
    const mitmdump = onPath('mitmdump')
    if (mitmdump === undefined) missing.push(`mitmdump: ${OTHERS.mitmdump}`)
    else peers.set('mitmdump', keep(await startCommand(mitmdump, port => ['-q', '--mode', `reverse:${origin}`, '--listen-host', '127.0.0.1', '-p', String(port), '-w', join(directory, 'flows')])))
    const mcpProxy = onPath('mcp-proxy')
    if (mcpProxy === undefined) missing.push(`mcp-proxy: ${OTHERS['mcp-proxy']}`)
    else peers.set('mcpProxy', keep(await startCommand(mcpProxy, port => ['--host', '127.0.0.1', '--port', String(port), '--stateless', '--', process.execPath, join(import.meta.dirname, 'peers/stdio.ts')])))
    for (const each of missing) say(`not installed: ${each}`)

    const load = keep(startLoad())
    const results = new Map<string, { readonly flatOut: LoadResult; readonly steady: LoadResult }[]>()
    for (let at = -1; at < effort.rounds; at++) {
      for (const [name, { port }] of peers) {
        const work = { port, tool: 'json', connections: CONNECTIONS, seconds: at < 0 ? effort.warmSeconds : effort.seconds } as const
        const steady = await load.run({ ...work, rate: STEADY_RATE })
        const flatOut = await load.run(work)
        if (at < 0) continue
        results.set(name, [...(results.get(name) ?? []), { flatOut, steady }])
        say(`${at + 1}/${effort.rounds} ${name}: ${round(flatOut.calls / flatOut.seconds)} calls/s; at ${STEADY_RATE} calls/s p50 ${round(steady.p50Ms)} ms`)
      }
    }
    const speeds = (name: string): number[] => (results.get(name) ?? []).map(({ flatOut }) => flatOut.calls / flatOut.seconds)
    const p50s = (name: string): number[] => (results.get(name) ?? []).map(({ steady }) => steady.p50Ms)
    const ofEach = <T>(figure: (name: string) => T): Record<string, T> => Object.fromEntries([...peers.keys()].map(name => [name, figure(name)]))
    return {
      bench: 'compare',
      quick,
      node: process.version,
      rounds: effort.rounds,
      missing,
      callsPerSecond: ofEach(name => round(median(speeds(name)))),
      toHttpProxy: ofEach(name => ratio(speeds(name), speeds('httpProxy'))),
      addedP50Ms: ofEach(name => difference(p50s(name), p50s('direct'))),
      rssMb: ofEach(name => round(residentMb((peers.get(name) ?? upstream).child))),
    }
  } finally {
    await Promise.all(running.map(stopProcess))
    await rm(directory, { recursive: true, force: true })
  }
}

function onPath(program: string): string | undefined {
  return (process.env['PATH'] ?? '').split(delimiter).map(folder => join(folder, program)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
