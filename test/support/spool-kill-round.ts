/**
 * The real program before a real upstream, killed at a random moment again and again, over one spool and one archive.
 * The outside oracle: whole answers that clients have received, and requests that the upstream has seen. Nothing else is believed.
 */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { directoryArchive } from '../../src/archive/directory.ts'
import { verify } from '../../src/archive/verify.ts'
import type { VerifyReport } from '../../src/record/verdict.ts'
import { bodyOf, httpUpstream, readRecorded } from './recorder.ts'
import type { Upstream } from './recorder.ts'

const STENO = join(import.meta.dirname, '../../steno')
const CLIENTS = 8
/** Answers before the kill, at most. */
const MAX_ANSWERS = 60
/** Share of kills while the program starts: adoption is under way, or not even the lock is taken. */
const EARLY = 0.2
const LARGE = 0.05
const LARGE_BYTES = 400_000

export interface KillGround {
  readonly folder: string
  readonly archive: string
  readonly spool: string
  readonly upstream: Upstream
  /** Answer by request, of every call whose answer came whole. */
  readonly released: Map<string, string>
  /** Requests that reached the upstream. */
  readonly seen: Set<string>
  readonly random: () => number
  calls: number
  kills: number
}

export interface KillVerdict {
  readonly released: number
  /** Calls whose request or answer is not in the archive though the client had the answer; requests that were forwarded unrecorded. */
  readonly lost: readonly string[]
  readonly report: VerifyReport
  /** Writers that were cut and of which no later writer says so. */
  readonly undeclared: readonly string[]
  /** What is still in the spool. */
  readonly left: readonly string[]
}

/** @param seed of all that is random here, so that a failure can be repeated as far as the machine allows */
export async function killGround(seed: number): Promise<KillGround> {
  const folder = await mkdtemp(join(tmpdir(), 'kill-'))
  const random = randomFrom(seed)
  const seen = new Set<string>()
  const upstream = await httpUpstream((req, res) => {
    void bodyOf(req).then(body => {
      const text = body.toString()
      seen.add(text)
      const { id } = JSON.parse(text) as { readonly id: number }
      const size = random() < LARGE ? LARGE_BYTES : Math.floor(random() * 2000)
      res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: `answer to ${id} ${'grüße '.repeat(size / 6)}` }] } }))
    })
  })
  return { folder, archive: join(folder, 'archive'), spool: join(folder, 'spool'), upstream, released: new Map(), seen, random, calls: 0, kills: 0 }
}

/** One life of the program, ended by SIGKILL. */
export async function killRound(ground: KillGround): Promise<void> {
  const { random } = ground
  const program = start(ground)
  ground.kills++
  if (random() < EARLY) {
    // Not a wait for anything: the moment itself is what is random.
    for (let turns = Math.floor(random() * 300); turns > 0 && program.child.exitCode === null; turns--) await new Promise(resolve => setTimeout(resolve, 1))
    await end(program.child, 'SIGKILL')
    return
  }
  const url = await program.url
  let left = Math.floor(random() * MAX_ANSWERS)
  const enough = new Promise<void>(resolve => {
    const answered = (): void => {
      if (left-- <= 0) resolve()
    }
    answered()
    void Promise.all(Array.from({ length: CLIENTS }, () => callUntilItEnds(ground, url, answered)))
  })
  await enough
  for (let turns = Math.floor(random() * 20); turns > 0; turns--) await new Promise(setImmediate)
  await end(program.child, 'SIGKILL')
}

/** A last life that ends in order, and what the archive then says. */
export async function judge(ground: KillGround): Promise<KillVerdict> {
  const last = start(ground)
  await last.url
  await end(last.child, 'SIGTERM')
  const recorded = await readRecorded(ground.archive)
  const byExchange = new Map<string, { request?: string; answer?: string }>()
  for (const frame of recorded.of('mcp')) {
    const key = `${frame.writer} ${frame.exchange}`
    const exchange = byExchange.get(key) ?? {}
    byExchange.set(key, exchange)
    exchange[frame.from === 'client' ? 'request' : 'answer'] = recorded.bodyOf(frame).toString()
  }
  const answerOf = new Map([...byExchange.values()].map(({ request, answer }) => [request, answer]))
  const stopped = new Set(recorded.of('writer.stop').map(frame => frame.writer))
  const declared = new Set(recorded.of('gap').map(frame => frame.of))
  const writers = new Set(recorded.frames.map(frame => frame.writer))
  return {
    released: ground.released.size,
    lost: [...[...ground.released].filter(([request, answer]) => answerOf.get(request) !== answer).map(([request]) => request), ...[...ground.seen].filter(request => !answerOf.has(request))],
    report: await verify({ archive: await directoryArchive(ground.archive) }, { now: Date.now }),
    undeclared: [...writers].filter(writer => !stopped.has(writer) && !declared.has(writer)),
    left: await readdir(ground.spool),
  }
}

export async function leaveKillGround(ground: KillGround): Promise<void> {
  await ground.upstream.close()
  await rm(ground.folder, { recursive: true, force: true })
}

interface Program {
  readonly child: ChildProcess
  /** Rejects when the program ends before it records. */
  readonly url: Promise<string>
}

function start(ground: KillGround): Program {
  const child = spawn(STENO, ['up', '--upstream', ground.upstream.url, '--archive', ground.archive, '--spool', ground.spool, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--linger', '0.05'], { stdio: ['ignore', 'ignore', 'pipe'] })
  const said: string[] = []
  const url = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', line => {
      said.push(line)
      const found = /"msg":"recording".*"url":"([^"]+)"/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
    child.on('exit', (code, signal) => reject(new Error(`the program ended (${code ?? signal}) before it recorded:\n${said.join('\n')}`)))
  })
  // Whoever kills it early does not ask for the URL.
  url.catch(() => {})
  return { child, url }
}

async function end(child: ChildProcess, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
  child.kill(signal)
  await exited
}

/** One client: a call after the other, until the program is gone. */
async function callUntilItEnds(ground: KillGround, url: string, answered: () => void): Promise<void> {
  for (;;) {
    const id = ground.calls++
    const request = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'echo', arguments: { text: `call ${id}` } } })
    try {
      const response = await fetch(url, { method: 'POST', body: request, headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' } })
      const answer = await response.text()
      if (response.status !== 200) throw new Error(`status ${response.status}: ${answer}`)
      ground.released.set(request, answer)
      answered()
    } catch {
      return
    }
  }
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
