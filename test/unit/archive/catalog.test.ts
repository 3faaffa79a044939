import { deepStrictEqual } from 'node:assert'
import { gzipSync } from 'node:zlib'

import fc from 'fast-check'

import { catalogRecording } from '../../../src/archive/catalog-recording.ts'
import type { OpenRecording } from '../../../src/archive/catalog-recording.ts'
import { Catalog } from '../../../src/archive/catalog.ts'
import { anyPieces, anyWriters } from '../../support/any-recording.ts'
import type { AnyPiece } from '../../support/any-recording.ts'
import { segmentMember, segmentPayload } from '../../support/build-recording.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'
import { memoryArchive } from '../../support/memory-archive.ts'
import type { MemoryArchive } from '../../support/memory-archive.ts'

const NOW_MS = Date.parse('2026-01-02T03:10:00Z')

function add(archive: MemoryArchive, { writer, lines, from, to, form, object }: AnyPiece): void {
  const payload = segmentPayload(writer, lines, { from, to })
  archive.append(object, form === 'segment' ? segmentMember(writer, lines, { from, to }) : form === 'foreign' ? gzipSync(payload) : Buffer.from(payload))
}

/** Everything that a reader is told. */
async function told(recording: OpenRecording): Promise<unknown> {
  const sessions = await recording.sessions({ limit: 100 })
  const frames: Record<string, readonly string[]> = {}
  for (const { id } of sessions) {
    const lines: string[] = []
    for await (const { line } of recording.frames(id)) lines.push(line)
    frames[id] = lines
  }
  return { sessions, frames, findings: recording.findings() }
}

describe('Catalog', () => {
  it('that follows an archive tells the same as one that is built at once', async function () {
    this.timeout(0)
    const world = anyWriters.chain(writers => anyPieces(writers).chain(pieces => fc.record({ pieces: fc.constant(pieces), looks: fc.array(fc.boolean(), { minLength: pieces.length, maxLength: pieces.length }) })))
    await fc.assert(
      fc.asyncProperty(world, async ({ pieces, looks }) => {
        const archive = memoryArchive()
        let clock = NOW_MS
        const growing = await catalogRecording(await Catalog.open(archive, undefined, () => NOW_MS), { now: () => (clock += 1000) })
        for (const [at, piece] of pieces.entries()) {
          add(archive, piece)
          if (looks[at] === true) await growing.sessions({ limit: 1 })
        }
        const atOnce = await catalogRecording(await Catalog.open(archive, undefined, () => NOW_MS), { now: () => clock })
        try {
          // Node's assertion shows what differs.
          deepStrictEqual(await told(growing), await told(atOnce))
        } finally {
          await growing.close()
          await atOnce.close()
        }
      }),
      fuzzRuns,
    )
  })
})
