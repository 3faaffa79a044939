import { deepStrictEqual } from 'node:assert'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import type { Archive } from '../../../src/archive/archive.ts'
import { catalogRecording } from '../../../src/archive/catalog-recording.ts'
import { Catalog } from '../../../src/archive/catalog.ts'
import { directoryArchive } from '../../../src/archive/directory.ts'
import { verify } from '../../../src/archive/verify.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'
import { hostileFiles } from '../../support/hostile-recording.ts'
import { hasPython, pythonReader } from '../../support/python-reader.ts'

/** Long after any frame, so that no writer is still at work: the other reader has no clock. */
const NOW_MS = Date.parse('2030-01-01T00:00:00Z')

describe('an independent reader in Python', () => {
  it('lists and verifies the same as we do, whatever was done to the archive', async function () {
    if (!hasPython()) return this.skip()
    this.timeout(0)
    const python = pythonReader()
    const seen = new Set<string>()
    const folder = await mkdtemp(join(tmpdir(), 'independent-'))
    try {
      await fc.assert(
        fc.asyncProperty(hostileFiles, async files => {
          await rm(folder, { recursive: true, force: true })
          await mkdir(folder)
          for (const { name, bytes } of files) await writeFile(join(folder, name), bytes)
          const archive = await directoryArchive(folder)
          const { verdict } = await verify({ archive }, { now: () => NOW_MS })
          const theirs = await python.read(folder)
          deepStrictEqual(theirs.verdict, verdict)
          seen.add(verdict)
          // Of two copies that differ, either may be shown.
          if (verdict !== 'broken') deepStrictEqual(theirs.sessions, await sessionsIn(archive))
        }),
        fuzzRuns,
      )
      deepStrictEqual([...seen].sort(), ['broken', 'consistent', 'incomplete'])
    } finally {
      python.close()
      await rm(folder, { recursive: true, force: true })
    }
  })
})

async function sessionsIn(archive: Archive): Promise<Readonly<Record<string, number>>> {
  // In memory: a file for each of thousands of catalogs would be most of the work.
  const recording = await catalogRecording(await Catalog.open(archive, undefined, () => NOW_MS), { now: () => NOW_MS })
  try {
    return Object.fromEntries((await recording.sessions({ limit: 1000 })).map(each => [each.id, each.frames]))
  } finally {
    await recording.close()
  }
}
