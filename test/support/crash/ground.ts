/**
 * One spool and one archive under a program that is killed again and again. After each kill the program is started on the same spool,
 * and everything that anybody has seen from outside must be in the archive as soon as what was left is shipped.
 */

import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { errorCode } from '../../../src/platform/error-code.ts'
import { listLogs } from '../../../src/recorder/spool/list-logs.ts'
import type { Upstream } from '../recorder.ts'
import { runClients } from './clients.ts'
import { openFirehoseGround } from './firehose-ground.ts'
import { openJournal } from './journal.ts'
import type { Journal } from './journal.ts'
import { crashMachine, parseEvents, readDisk } from './machine-crash.ts'
import type { Disk } from './machine-crash.ts'
import { judge, spooledFrames } from './oracle.ts'
import type { Judgement, Life } from './oracle.ts'
import { startProgram } from './program.ts'
import type { Program, ProgramOptions } from './program.ts'
import type { Random } from './random.ts'
import { startServer } from './server.ts'

export interface Ground {
  /** One life of the program, which ends badly. @returns what kind of end it was, and what the archive says of all lives before it, when it came to that */
  round(): Promise<{ readonly kind: string; readonly judgement: Judgement | undefined }>
  /** A life that ends in order: then nothing may be left in the spool. */
  finish(): Promise<Judgement>
  dispose(): Promise<void>
}

/** How a life ends. */
interface Fate {
  readonly kind: string
  /** What was not synced goes too. */
  readonly machine: boolean
  /** In itself, at an operation on a file. */
  readonly at?: { readonly operation: number; readonly where: string }
  /** From outside, so many ms after the start. */
  readonly afterMs?: number
  /** From outside, after so many answers and then so many turns of this process's loop. */
  readonly answers: number
  readonly turns: number
}

const DRAIN_MS = 60_000

export interface GroundOptions {
  /** `firehose`: a double of Firehose that fails often. */
  readonly sink: 'directory' | 'firehose'
  /** With each life its spool goes too; so the recorder passes on only what the sink has. */
  readonly loseNode: boolean
}

export async function openGround(random: Random, options: GroundOptions): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), 'crash-'))
  const disk = join(folder, 'disk')
  const sink = options.sink === 'firehose' ? await openFirehoseGround(random, join(folder, 'delivered')) : undefined
  const archive = sink?.archive ?? join(disk, 'archive')
  const spool = join(disk, 'spool')
  await mkdir(disk, { recursive: true })
  await mkdir(archive, { recursive: true })
  const journals = await Promise.all(['clients', 'server'].map(name => openJournal(join(folder, name))))
  const [ofClients, ofServer] = journals as [Journal, Journal]
  const upstream: Upstream = await startServer(ofServer)
  const lives: Life[] = []
  const known = new Set<string>()
  let calls = 0

  const durability = options.loseNode ? ['--durability', 'off-pod'] : []
  const start = (more: Partial<ProgramOptions> = {}): Program => startProgram({ upstream: upstream.url, sink: [...(sink?.flags ?? ['--archive', archive]), ...durability], ...(sink === undefined ? {} : { env: sink.env }), spool, lingerSeconds: 0.05, ...more })
  const over = async (program: Program, served: boolean): Promise<void> => {
    await program.ended
    if (options.loseNode) {
      await rm(spool, { recursive: true, force: true })
      await mkdir(spool)
    }
    await sink?.collect()
    const fresh = (await writersIn(spool, archive)).filter(writer => !known.has(writer))
    for (const writer of fresh) known.add(writer)
    if (fresh.length > 1) throw new Error(`one life has left several writers: ${fresh.join(', ')}`)
    lives.push({ number: lives.length, writer: fresh[0], served })
  }
  const judged = async (): Promise<Judgement> => {
    await Promise.all(journals.map(journal => journal.synced()))
    await sink?.collect()
    const judgement = await judge({ archive, spool, lives, entries: (await Promise.all(journals.map(journal => journal.read()))).flat() })
    // Of a lost node nobody is left to say that it was cut: readers see it by the missing stop.
    return options.loseNode ? { ...judgement, undeclared: [] } : judgement
  }

  return {
    round: async () => {
      const fate = drawFate(random)
      const log = join(folder, 'operations')
      const before: Disk | undefined = fate.machine ? await readDisk(disk) : undefined
      const watched = fate.machine || fate.at !== undefined
      const program = start({
        // Much is left to be adopted by the next one.
        lingerSeconds: random.chance(0.3) ? 30 : 0.02,
        ...(watched ? { watch: { root: disk, log, ...(fate.at === undefined ? {} : { killAt: fate.at }) } } : {}),
      })
      const late = fate.afterMs === undefined ? undefined : wait(fate.afterMs).then(() => program.kill())
      const url = await program.url
      let judgement: Judgement | undefined
      try {
        if (url !== undefined) {
          if (await drained(spool, program)) judgement = await judged()
          if (!program.isOver) await load(program, url, fate)
        } else if (fate.at === undefined && fate.afterMs === undefined) throw new Error(`the program ended by itself:\n${program.said()}`)
      } finally {
        await program.kill()
        await late
      }
      if (program.said().includes('watched-fs:')) throw new Error(program.said())
      if (before !== undefined) await crashMachine(disk, before, parseEvents(await readIfThere(log)), random)
      await rm(log, { force: true })
      await over(program, url !== undefined)
      return { kind: fate.kind, judgement }
    },
    finish: async () => {
      sink?.calm()
      const program = start()
      if ((await program.url) === undefined) throw new Error(`the program ended by itself:\n${program.said()}`)
      await program.stop()
      const left = await readdir(spool)
      const drafts = (await readdir(archive)).filter(name => name.startsWith('.'))
      if (left.length + drafts.length > 0) throw new Error(`an orderly end left ${left.join(', ')} in the spool and ${drafts.join(', ')} in the archive`)
      await over(program, true)
      return await judged()
    },
    dispose: async () => {
      await upstream.close()
      await sink?.close()
      await Promise.all(journals.map(async journal => {
        await journal.synced()
        await journal.close()
      }))
      await rm(folder, { recursive: true, force: true })
    },
  }

  async function load(program: Program, url: string, { answers, turns, at }: Fate): Promise<void> {
    let left = answers
    let enough: () => void = () => {}
    const answered = new Promise<void>(resolve => (enough = resolve))
    const clients = runClients({
      url,
      journal: ofClients,
      random,
      life: lives.length,
      nextCall: () => calls++,
      onAnswer: () => {
        if (left-- <= 0) enough()
      },
    })
    await Promise.race([answered, program.ended, clients])
    if (at === undefined) for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
    await program.kill()
    await clients
  }
}

function drawFate(random: Random): Fate {
  const machine = random.chance(0.35)
  const usual = { machine, answers: random.below(80), turns: random.below(30) }
  const suffix = machine ? ', and the machine' : ''
  const kind = random.next()
  if (kind < 0.35) return { ...usual, kind: `under load${suffix}` }
  // While it starts: adoption is under way, or not even the lock is taken.
  if (kind < 0.5) return { ...usual, kind: `while starting${suffix}`, afterMs: random.below(400) }
  // Between any two operations on files.
  if (kind < 0.75) return { ...usual, kind: `writing a segment${suffix}`, at: { operation: random.below(40), where: '/archive' }, answers: 400 }
  return { ...usual, kind: `at the spool's files${suffix}`, at: { operation: random.below(60), where: '/spool' }, answers: 100 }
}

/** Waits until all that earlier lives left is shipped, and this one has written its first frames. False when the program ended before. */
async function drained(spool: string, program: Program): Promise<boolean> {
  for (const since = performance.now(); performance.now() - since < DRAIN_MS; await wait(4)) {
    if (program.isOver) return false
    if ((await writersOfSpool(spool)).length === 1 && spooledFrames(spool).length > 0) return true
  }
  throw new Error(`what was left in the spool was not shipped within ${DRAIN_MS / 1000} s:\n${program.said()}`)
}

/** A life may end before it has done anything. */
async function readIfThere(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return ''
    throw error
  })
}

/** Writers with a log in the spool. */
async function writersOfSpool(spool: string): Promise<string[]> {
  try {
    return [...listLogs(spool).keys()]
  } catch {
    // Not even the folder was made.
    return []
  }
}

async function writersIn(spool: string, archive: string): Promise<string[]> {
  const files = await readdir(archive, { recursive: true })
  return [...new Set([...(await writersOfSpool(spool)), ...files.flatMap(name => /([0-9a-z]{26})-\d+-\d+\.jsonl\.gz$/.exec(name)?.[1] ?? [])])]
}
