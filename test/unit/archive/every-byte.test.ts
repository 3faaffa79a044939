import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { makeAnchor } from '../../../src/archive/anchor.ts'
import type { Archive, ArchiveObject, Finding } from '../../../src/archive/archive.ts'
import { readParts } from '../../../src/archive/members.ts'
import { openRecording } from '../../../src/archive/open-recording.ts'
import { verify } from '../../../src/archive/verify.ts'
import { readMemberHeader } from '../../../src/record/member.ts'
import { segmentMember, storyLines } from '../../support/build-recording.ts'

const WRITER = 'writer-a'
const FLIPS = [1, 0x80, 0xff]

describe('an archive of which any byte is lost', () => {
  const story = storyLines(WRITER, { calls: 1 })
  const borders = [0, 4, 8, story.length]
  const members = borders.slice(1).map((to, at) => segmentMember(WRITER, story, { from: borders[at] ?? 0, to }))
  const payloads = members.map(member => gunzipSync(member).toString())
  const ends = members.map((_, at) => members.slice(0, at + 1).reduce((sum, each) => sum + each.length, 0))
  const whole = Buffer.concat(members)
  const now = (): number => Date.parse('2026-01-02T04:05:00Z')

  /** An archive of one object, in memory. */
  const archiveOf = (bytes: Buffer): Archive => ({
    name: 'memory',
    list: async function* (): AsyncGenerator<ArchiveObject> {
      yield { name: 'o.jsonl.gz', size: bytes.length, modifiedMs: 0 }
    },
    open: async () => ({ size: bytes.length, read: async (position, length) => bytes.subarray(position, position + length), close: async () => {} }),
  })
  const read = async (bytes: Buffer): Promise<{ readonly texts: readonly string[]; readonly findings: readonly Finding[] }> => {
    const texts: string[] = []
    const findings: Finding[] = []
    const reader = await archiveOf(bytes).open('o.jsonl.gz')
    if (reader === undefined) throw new Error('not there')
    for await (const part of readParts('o.jsonl.gz', reader)) {
      if (part.kind === 'part') texts.push(Buffer.from(part.bytes).toString())
      else findings.push(part)
    }
    return { texts, findings }
  }
  const flipped = (at: number, bits: number): Buffer => {
    const bytes = Buffer.from(whole)
    bytes[at] = (bytes[at] ?? 0) ^ bits
    return bytes
  }
  const memberAt = (at: number): number => ends.findIndex(end => at < end)
  /** Where in its member a byte lies. */
  const placeOf = (at: number, bits: number): 'ignored' | 'index' | 'rest' => {
    const member = members[memberAt(at)] ?? whole
    const offset = at - ((ends[memberAt(at)] ?? 0) - member.length)
    const header = readMemberHeader(member)
    if (typeof header === 'string') throw new Error('not a member of ours')
    // FTEXT, MTIME, XFL and OS mean nothing.
    if ((offset === 3 && bits === 1) || (offset >= 4 && offset < 10)) return 'ignored'
    return offset >= 10 && offset < header.dataOffset ? 'index' : 'rest'
  }

  /** Whether the index of a member says something that is wrong. One that cannot be read, or says "any session", says nothing wrong. */
  const claimsOtherwise = (bytes: Buffer, member: number): boolean => {
    const before = readMemberHeader(members[member] ?? whole)
    const after = readMemberHeader(bytes, (ends[member] ?? 0) - (members[member]?.length ?? 0))
    if (typeof before !== 'object' || typeof after !== 'object') return after !== 'foreign'
    const sessions = after.index.sessions === 'any' ? 'any' : before.index.sessions
    return !isDeepStrictEqual(after, { ...before, index: { ...before.index, sessions } })
  }

  it('gives every whole member before a cut at any byte, says that there is a cut, and never more', async () => {
    const anchor = makeAnchor(await verify({ archive: archiveOf(whole) }, { now }), '2026-01-02T03:04:59Z')
    for (let length = 0; length <= whole.length; length++) {
      const kept = ends.filter(end => end <= length).length
      const { texts, findings } = await read(whole.subarray(0, length))
      expect(texts, `${length} bytes`).to.deep.equal(payloads.slice(0, kept))
      expect(findings.map(({ reason }) => reason), `${length} bytes`).to.deep.equal(length === (ends[kept - 1] ?? 0) ? [] : ['cut'])
      const report = await verify({ archive: archiveOf(whole.subarray(0, length)), anchor }, { now })
      expect(report.verdict, `${length} bytes`).to.equal(length === whole.length ? 'verified' : 'incomplete')
      expect(report.frames).to.equal(borders[kept])
    }
  })

  for (const bits of FLIPS) {
    it(`gives every member but one as it was when any byte is changed by 0x${bits.toString(16)}, and says which one`, async () => {
      for (let at = 0; at < whole.length; at++) {
        const hit = memberAt(at)
        const place = placeOf(at, bits)
        const { texts, findings } = await read(flipped(at, bits))
        // Some bits mean nothing, and what the index says is not needed to read a member: then it is as it was.
        const unharmed = texts.length === payloads.length
        if (place === 'ignored' || unharmed) expect(texts, `byte ${at}`).to.deep.equal(payloads)
        else {
          expect(texts, `byte ${at}`).to.deep.equal(payloads.filter((_, member) => member !== hit))
          expect(findings.map(({ offset }) => memberAt(offset)), `byte ${at}`).to.include(hit)
        }
        const { verdict, frames } = await verify({ archive: archiveOf(flipped(at, bits)) }, { now })
        expect(frames).to.be.oneOf([story.length, story.length - ((borders[hit + 1] ?? 0) - (borders[hit] ?? 0))])
        const wrongIndex = place === 'index' && claimsOtherwise(flipped(at, bits), hit)
        if (wrongIndex) expect(verdict, `byte ${at}`).to.be.oneOf(['broken', 'incomplete'])
        else expect(verdict, `byte ${at}, ${place}`).to.equal(unharmed ? 'consistent' : 'incomplete')
      }
    })
  }

  it('opens with the frames that are whole, or refuses by name, when any byte is changed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'every-byte-'))
    const path = join(folder, 'o.jsonl.gz')
    try {
      for (let at = 0; at < whole.length; at += 3) {
        await writeFile(path, flipped(at, 0xff))
        const recording = await openRecording({ type: 'file', path }, { now, tempDir: folder })
        try {
          const lines: string[] = []
          for (const { id } of await recording.sessions({ limit: 10 })) for await (const { line } of recording.frames(id)) lines.push(line)
          for (const line of lines) expect(story, `byte ${at}`).to.include(line)
        } finally {
          await recording.close()
        }
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
