/** One set of the suite, run twice: straight at the server, and through a recorder before it. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRecorder } from '../demo/recorder.ts'
import { runSteno } from '../demo/steno-command.ts'
import { differences } from './checks.ts'
import type { Checks, Difference, Found } from './checks.ts'
import type { ServerSet } from './sets.ts'
import { runSuite } from './suite.ts'
import { startTarget } from './targets.ts'

export interface Compared {
  readonly set: string
  readonly direct: Checks
  readonly recorded: Checks
  /** Not explained by anything: each is a failure. */
  readonly differences: readonly Difference[]
  /** Differences that are known and why, for those who count. */
  readonly explained: number
  /** Anything else that makes the run a failure. */
  readonly problems: readonly string[]
}

const ROOT = join(import.meta.dirname, '..')

export async function compareServer(set: ServerSet): Promise<Compared> {
  const folder = await mkdtemp(join(tmpdir(), 'conformance-'))
  try {
    const run = async (side: string, url: string): Promise<Found> => {
      const output = join(folder, side)
      await mkdir(output)
      return await runSuite(set.suite, ['server', '--url', url, ...set.args], output)
    }
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
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** A comparison with a run that tests little says little. */
export function weaknesses(direct: Checks, atLeast: { readonly passed: number; readonly failed: number }): string[] {
  return direct.passed >= atLeast.passed && direct.failed <= atLeast.failed ? [] : [`without the recorder ${direct.passed} passed and ${direct.failed} failed; at least ${atLeast.passed} should pass and at most ${atLeast.failed} fail`]
}

/** Whatever passed was recorded, and reads as whole. */
async function doubts(archive: string): Promise<string[]> {
  const { code, stdout } = await runSteno(ROOT, ['verify', '--archive', archive])
  return code === 0 ? [] : [`steno verify ends with ${code}: ${stdout.trim().slice(0, 500)}`]
}
