import { deepStrictEqual } from 'node:assert'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { expect } from 'chai'
import fc from 'fast-check'

import type { Archive } from '../../../src/archive/archive.ts'
import { catalogRecording } from '../../../src/archive/catalog-recording.ts'
import type { OpenRecording } from '../../../src/archive/catalog-recording.ts'
import { Catalog } from '../../../src/archive/catalog.ts'
import { anyPieces, anyWriters } from '../../support/any-recording.ts'
import type { AnyPiece } from '../../support/any-recording.ts'
import { segmentMember, segmentPayload, storyLines } from '../../support/build-recording.ts'
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

  it('holds every object when two processes build it at once, and each drops what the other was faster with', async () => {
    const archive = memoryArchive()
    const name = (at: number): string => `2026/03/01/08/${String(at).padStart(5, '0')}.jsonl.gz`
    for (let at = 0; at < 700; at++) archive.put(name(at), segmentMember(`w${at}`, storyLines(`w${at}`, { session: `session-${at}` })))
    const folder = await mkdtemp(join(tmpdir(), 'steno-catalog-'))
    /** A catalog that stops before it reads one of these objects, until it is let go. */
    const stopping = async (...at: readonly number[]) => {
      const stops = at.map(each => ({ object: name(each), reached: Promise.withResolvers<void>(), go: Promise.withResolvers<void>() }))
      const open = async (object: string): ReturnType<Archive['open']> => {
        const stop = stops.find(each => each.object === object)
        stop?.reached.resolve()
        await stop?.go.promise
        return await archive.open(object)
      }
      return { catalog: await Catalog.open({ ...archive, open }, folder, () => NOW_MS), stops }
    }
    // Batches are of 200 objects.
    const one = await stopping(150, 460)
    const other = await stopping(250)
    const [first, second] = one.stops
    const [only] = other.stops
    const ones = one.catalog.refresh()
    await first?.reached.promise
    const others = other.catalog.refresh()
    await only?.reached.promise
    first?.go.resolve()
    await second?.reached.promise
    only?.go.resolve()
    second?.go.resolve()
    await Promise.all([ones, others])
    expect(one.catalog.database.prepare('select count(*) n from object').get()?.['n']).to.equal(700)
    await one.catalog.close()
    await other.catalog.close()
    await rm(folder, { recursive: true })
  })

  it('goes on in private when there is no room where it lies', async () => {
    const archive = memoryArchive()
    for (let at = 0; at < 300; at++) archive.put(`${at}.jsonl.gz`, segmentMember(`w${at}`, storyLines(`w${at}`, { session: `session-${at}` })))
    const folder = await mkdtemp(join(tmpdir(), 'steno-catalog-'))
    const catalog = await Catalog.open(archive, folder, () => NOW_MS)
    catalog.database.exec('pragma max_page_count = 40')
    await catalog.refresh()
    expect(catalog.database.prepare('select count(*) n from object').get()?.['n']).to.equal(300)
    expect(catalog.database.location()).to.equal(null)
    await catalog.close()
    await rm(folder, { recursive: true })
  })
})
