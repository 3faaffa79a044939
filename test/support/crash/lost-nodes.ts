/**
 * Nodes that are lost with `--durability local`, before a Firehose that takes each call after a moment: what goes with them may be no older than the
 * linger and one call, and readers must see that each recording was cut.
 */

import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { listLogs } from '../../../src/recorder/spool/list-logs.ts'
import { steno } from '../cli.ts'
import { runClients } from './clients.ts'
import { openFirehoseGround, SLOW_MS } from './firehose-ground.ts'
import { openJournal } from './journal.ts'
import { countSeen, findMissed } from './oracle.ts'
import { startProgram } from './program.ts'
import { createRandom } from './random.ts'
import { startServer } from './server.ts'

export interface LostNodesOptions {
  readonly rounds: number
  readonly seed: number
  readonly lingerSeconds: number
  readonly onProgress: (line: string) => void
}

export interface LostNodesResult {
  readonly rounds: number
  readonly answersReceived: number
  readonly requestsServed: number
  /** Went with their nodes. */
  readonly lost: number
  /** ms, at the loss of its node, of the oldest thing that went with it: over all rounds, and the median of them. */
  readonly oldestLostMs: number
  readonly medianOldestLostMs: number
  /** ms: the linger, and what a call may take. */
  readonly promisedMs: number
  /** Nodes of which nothing had arrived: only who counts pods can know of them. */
  readonly untraced: number
  /** What is in the archive otherwise than it was seen, and what readers do not show as cut. */
  readonly problems: readonly string[]
  readonly seed: number
}

/** Lives last up to so many lingers. */
const LIFE_LINGERS = 4
/** Readers take a writer for alive that was heard of in the last 35 minutes. */
const LATER_MS = 3_600_000

export async function loseNodes({ rounds, seed, lingerSeconds, onProgress }: LostNodesOptions): Promise<LostNodesResult> {
  const random = createRandom(seed)
  const folder = await mkdtemp(join(tmpdir(), 'lost-nodes-'))
  const total = { answersReceived: 0, requestsServed: 0, lost: 0, untraced: 0 }
  const oldest: number[] = []
  const problems: string[] = []
  let calls = 0

  const round = async (life: number): Promise<void> => {
    const place = join(folder, String(life))
    const spool = join(place, 'spool')
    await mkdir(spool, { recursive: true })
    const sink = await openFirehoseGround(random, join(place, 'delivered'), 'slow')
    await mkdir(sink.archive, { recursive: true })
    const journals = await Promise.all(['clients', 'server'].map(name => openJournal(join(place, name))))
    const [ofClients, ofServer] = journals as [(typeof journals)[0], (typeof journals)[0]]
    const server = await startServer(ofServer)
    const program = startProgram({ upstream: server.url, sink: sink.flags, env: sink.env, spool, lingerSeconds })
    try {
      const url = await program.url
      if (url === undefined) throw new Error(`the program ended by itself:\n${program.said()}`)
      // From one client that thinks to many that do not: segments that wait for the linger, and those that are worth sending before.
      const busy = random.below(4)
      const clients = runClients({ url, journal: ofClients, random, life, clients: 1 + busy * 3, ...(busy === 3 ? {} : { thinkMs: () => random.below(200) }), session: `life-${life}`, nextCall: () => calls++, onAnswer: () => {} })
      await Promise.race([wait(random.next() * LIFE_LINGERS * lingerSeconds * 1000), clients])
      const lostMs = Date.now()
      await program.kill()
      const [writer] = listLogs(spool).keys()
      await rm(spool, { recursive: true })
      await clients
      await Promise.all(journals.map(journal => journal.synced()))
      await sink.settled()
      await sink.collect()
      const entries = (await Promise.all(journals.map(journal => journal.read()))).flat()
      const missed = await findMissed(sink.archive, entries)
      for (const { entry, problem } of missed.filter(each => each.wrong)) problems.push(`life ${life}: ${entry.call}: ${entry.by} ${entry.did}: ${problem}`)
      const { answersReceived, requestsServed } = countSeen(entries)
      const oldestMs = missed.reduce((most, { entry }) => Math.max(most, lostMs - entry.atMs), 0)
      total.answersReceived += answersReceived
      total.requestsServed += requestsServed
      total.lost += missed.length
      oldest.push(oldestMs)
      const unseen = writer === undefined ? 'the program left no log' : await uncut(sink.archive, writer, place)
      if (unseen === 'untraced') total.untraced++
      else if (unseen !== undefined) problems.push(`life ${life}: ${unseen}`)
      onProgress(`${life + 1} of ${rounds}: ${answersReceived} answers and events received, ${requestsServed} requests served; ${missed.length} went with the node, the oldest was ${oldestMs} ms old${unseen === undefined ? '' : `; ${unseen}`}`)
    } finally {
      await program.kill()
      await server.close()
      await sink.close()
      await Promise.all(journals.map(journal => journal.close()))
      await rm(place, { recursive: true, force: true })
    }
  }
  try {
    for (let life = 0; life < rounds; life++) await round(life)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return { rounds, ...total, oldestLostMs: Math.max(0, ...oldest), medianOldestLostMs: oldest.toSorted((a, b) => a - b)[oldest.length >> 1] ?? 0, promisedMs: lingerSeconds * 1000 + SLOW_MS, problems, seed }
}

/** Asks the commands, as somebody would an hour later. @returns what is wrong; 'untraced' when nothing of the writer has arrived */
async function uncut(archive: string, writer: string, cache: string): Promise<string | undefined> {
  if ((await readdir(archive)).length === 0) return 'untraced'
  const ask = async (command: string): Promise<unknown> => JSON.parse((await steno([command, '--archive', archive, '-o', 'json'], { env: { XDG_CACHE_HOME: cache }, now: () => Date.now() + LATER_MS })).out)
  const { writers } = (await ask('verify')) as { readonly writers: readonly { readonly writer: string; readonly verdict: string }[] }
  const checked = writers.find(each => each.writer === writer)
  if (checked === undefined) return 'untraced'
  if (checked.verdict !== 'incomplete') return `verify calls ${writer} ${checked.verdict}`
  const sessions = (await ask('list')) as readonly { readonly id: string; readonly state: string }[]
  const whole = sessions.find(({ state }) => state !== 'incomplete')
  return whole === undefined ? undefined : `list shows ${whole.id} as ${whole.state}`
}
