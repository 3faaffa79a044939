/** One set of the suite, run twice: without a recorder and through one. */

import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRecorder } from '../demo/recorder.ts'
import { directoryArchive } from '../src/archive/directory.ts'
import { verify } from '../src/archive/verify.ts'
import { differences } from './checks.ts'
import type { Checks, Difference, Found } from './checks.ts'
import { explain } from './resource-identifier.ts'
import type { ClientSet, ServerSet } from './sets.ts'
import { runSuite } from './suite.ts'
import { startTarget } from './targets.ts'
import { openTurnstile } from './turnstile.ts'

export interface Compared {
  readonly set: string
  readonly direct: Checks
  readonly recorded: Checks
  /** Not explained by anything: each is a failure. */
  readonly differences: readonly Difference[]
  /** How many differ as `resource-identifier.ts` says they must. */
  readonly explained: number
  /** Anything else that makes the run a failure. */
  readonly problems: readonly string[]
}

/** A scenario has its own time limit; while it waits for its turn that must not run out. */
const CLIENT_ARGS = ['--timeout', '300000']
const CLIENTS_AT_ONCE = 2

export async function compareServer(set: ServerSet): Promise<Compared> {
  return await inFolder(async folder => {
    const run = async (side: string, url: string): Promise<Found> => await runSuite(set.suite, ['server', '--url', url, ...set.args], join(folder, side))
    const withTarget = async <T>(work: (url: string) => Promise<T>): Promise<T> => {
      const target = await startTarget(set.target)
      try {
        return await work(target.url)
      } finally {
        await target.stop()
      }
    }
    const direct = await withTarget(url => run('direct', url))
    const archive = join(folder, 'archive')
    const recorded = await withTarget(async upstream => {
      const recorder = await startRecorder({ upstream, archive, port: 0, adminPort: 0, say: line => console.error(line) })
      try {
        return await run('recorded', recorder.url)
      } finally {
        await recorder.stop()
      }
    })
    return { set: set.name, direct: direct.counts, recorded: recorded.counts, differences: differences(direct, recorded), explained: 0, problems: [...weaknesses(direct.counts, set.atLeast), ...(await doubts(archive))] }
  })
}

export async function compareClient(set: ClientSet): Promise<Compared> {
  return await inFolder(async folder => {
    const turnstile = await openTurnstile(join(folder, 'turnstile'), CLIENTS_AT_ONCE)
    try {
      const archives = join(folder, 'archives')
      await mkdir(archives)
      const run = async (side: string, args: readonly string[]): Promise<Found> =>
        await runSuite('0.2', ['client', '--command', ['node_modules/.bin/node', '--disable-warning=ExperimentalWarning', 'conformance/client/main.ts', ...args].join(' '), '--requirements', set.revision, ...CLIENT_ARGS], join(folder, side), { CONFORMANCE_TURNSTILE: turnstile.path })
      const direct = await run('direct', [])
      const recorded = await run('recorded', [set.place, archives])
      const problems = weaknesses(direct.counts, set.atLeast)
      for (const archive of await readdir(archives)) problems.push(...(await doubts(join(archives, archive))))
      const found = differences(direct, recorded)
      if (set.place === 'there') return { set: set.name, direct: direct.counts, recorded: recorded.counts, differences: found, explained: 0, problems }
      const { unexplained, needless } = explain(set.revision, found)
      return { set: set.name, direct: direct.counts, recorded: recorded.counts, differences: unexplained, explained: found.length - unexplained.length, problems: [...problems, ...needless.map(name => `${name} stands in resource-identifier.ts, but nothing of it differs`)] }
    } finally {
      await turnstile.close()
    }
  })
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'conformance-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A comparison with a run that tests little says little. */
function weaknesses(direct: Checks, atLeast: { readonly passed: number; readonly failed: number }): string[] {
  return direct.passed >= atLeast.passed && direct.failed <= atLeast.failed ? [] : [`without the recorder ${direct.passed} passed and ${direct.failed} failed; at least ${atLeast.passed} should pass and at most ${atLeast.failed} fail`]
}

/** Whatever passed was recorded, and reads as whole. */
async function doubts(archive: string): Promise<string[]> {
  const { verdict, frames } = await verify({ archive: await directoryArchive(archive) }, { now: Date.now })
  return verdict === 'consistent' && frames > 0 ? [] : [`the recording of ${frames} frames is ${verdict}`]
}
