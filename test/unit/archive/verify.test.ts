import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'

import { expect } from 'chai'

import { makeAnchor, parseAnchor } from '../../../src/archive/anchor.ts'
import type { Anchor } from '../../../src/archive/anchor.ts'
import { directoryArchive } from '../../../src/archive/directory.ts'
import { openRecording } from '../../../src/archive/open-recording.ts'
import { verify } from '../../../src/archive/verify.ts'
import type { VerifyReport } from '../../../src/record/verdict.ts'
import { frameLine, headsOf, segmentMember, segmentPayload, storyLines, writeArchive, writeFileIn } from '../../support/build-recording.ts'

const WRITER = 'writer-a'
const now = (): number => Date.parse('2026-01-02T03:05:00Z')

describe('verify()', () => {
  let folder: string
  const story = storyLines(WRITER)
  const last = story.length - 1

  const check = async (anchor?: Anchor, nowMs = now()): Promise<VerifyReport> => verify({ archive: await directoryArchive(folder), ...(anchor === undefined ? {} : { anchor }) }, { now: () => nowMs })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'verify-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('says consistent for a whole recording, and verified with its anchor', async () => {
    await writeArchive(folder, WRITER, story, 4)
    const report = await check()
    expect(report.verdict).to.equal('consistent')
    expect(report.sentence).to.equal(`Unbroken from frame 0 to ${last}, recomputed by this command. No anchor: a cut end or a full rewrite would not show.`)
    expect(report.writers[0]?.head).to.equal(Buffer.from(headsOf(WRITER, story).at(-1) as Uint8Array).toString('hex'))
    const anchor = parseAnchor(JSON.stringify(makeAnchor(report, '2026-01-02T03:04:59Z')))
    const proved = await check(anchor)
    expect(proved.verdict).to.equal('verified')
    expect(proved.sentence).to.equal(`All ${story.length} frames match the anchor of 2026-01-02T03:04:59Z, recomputed by this command.`)
  })

  it('says which frames came after the anchor', async () => {
    await writeArchive(folder, WRITER, story, 4)
    const head = Buffer.from(headsOf(WRITER, story)[10] as Uint8Array).toString('hex')
    const report = await check({ format: 1, time: '2026-01-02T03:04:59Z', writers: [{ writer: WRITER, count: 10, head }] })
    expect(report.verdict).to.equal('verified')
    expect(report.sentence).to.include(`The other ${story.length - 10} were written after it: consistent, not proved.`)
    const other = await check({ format: 1, time: '2026-01-02T03:04:59Z', writers: [{ writer: WRITER, count: 9, head }] })
    expect(other).to.include({ verdict: 'broken' })
    const unknown = await check({ format: 1, time: '2026-01-02T03:04:59Z', writers: [{ writer: 'writer-b', count: 9, head }] })
    expect(unknown.verdict).to.equal('incomplete')
  })

  it('finds a full rewrite and a cut end by the anchor', async () => {
    await writeArchive(folder, WRITER, story.slice(0, 12), 4)
    await writeFileIn(folder, 'z.jsonl.gz', segmentMember(WRITER, story, { from: 12 }))
    const anchor = makeAnchor(await check(), '2026-01-02T03:04:59Z')
    await rm(join(folder, 'z.jsonl.gz'))
    expect((await check(anchor)).writers[0]).to.deep.include({ verdict: 'incomplete', holes: [{ from: 12, to: last }], missing: story.length - 12 })
    await rm(join(folder, '2026'), { recursive: true })
    await writeArchive(folder, WRITER, storyLines(WRITER, { session: 'session-won' }), 4)
    expect(await check(anchor)).to.include({ verdict: 'broken' })
  })

  const edits: Record<string, () => string[]> = {
    edited: () => story.map(line => line.replace('grüße', 'Grüße')),
    reordered: () => [...story.slice(0, 6), story[7] ?? '', story[6] ?? '', ...story.slice(8)],
    removed: () => [...story.slice(0, 6), ...story.slice(7)],
    inserted: () => [...story.slice(0, 6), frameLine(WRITER, 6, { kind: 'gap', reason: 'x' }), ...story.slice(6)],
  }
  for (const [name, edit] of Object.entries(edits)) {
    it(`says broken when lines were ${name}`, async () => {
      await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, story, { instead: edit() }))
      const report = await check()
      expect(report.verdict).to.equal('broken')
      expect(report.sentence).to.match(/was altered, moved or follows a removed one/)
    })
  }

  it('says where one of several segments was edited', async () => {
    await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, story, { to: 5 }))
    await writeFileIn(folder, 'b.jsonl.gz', segmentMember(WRITER, story, { from: 5, to: 9, instead: story.slice(5, 9).map(line => line.replace('"tools/call"', '"tools/CALL"')) }))
    await writeFileIn(folder, 'c.jsonl.gz', segmentMember(WRITER, story, { from: 9 }))
    expect((await check()).sentence).to.equal('One of frames 5 to 8 was altered, moved or follows a removed one. Nothing from frame 5 on is proved. Recomputed by this command.')
  })

  it('accepts duplicates and other borders, and refuses a copy with other bytes', async () => {
    await writeArchive(folder, WRITER, story, 4)
    await writeFileIn(folder, 'again.jsonl.gz', Buffer.concat([segmentMember(WRITER, story, { from: 3, to: 9 }), segmentMember(WRITER, story, { to: 7 })]))
    await writeFileIn(folder, 'plain.jsonl', segmentPayload(WRITER, story))
    await writeFileIn(folder, 'foreign.jsonl.gz', gzipSync(segmentPayload(WRITER, story)))
    expect((await check()).verdict).to.equal('consistent')
    await writeFileIn(folder, 'other.jsonl', `${(story[4] ?? '').replace('grüße', 'Grüße')}\n`)
    expect((await check()).writers[0]).to.include({ verdict: 'broken', brokenAt: 4, brokenTo: 4 })
  })

  it('says incomplete, with ranges, when segments are missing', async () => {
    await writeArchive(folder, WRITER, story, 4)
    const names = (await readdir(join(folder, '2026/01/02/03'))).sort()
    await rm(join(folder, '2026/01/02/03', names.find(name => name.includes('-4-')) ?? ''))
    const report = await check()
    expect(report.writers[0]).to.deep.include({ verdict: 'incomplete', holes: [{ from: 4, to: 7 }], missing: 4 })
    expect(report.sentence).to.equal('Whole up to 3; then 4 frames are missing, the first 4. Recomputed by this command.')
  })

  it('says incomplete for a gap frame, with its reason', async () => {
    const lines = [...story.slice(0, -1), frameLine(WRITER, last, { kind: 'gap', reason: 'spool.full', count: 12 }), frameLine(WRITER, last + 1, { kind: 'writer.stop', reason: 'SIGTERM' })]
    await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, lines))
    const report = await check()
    expect(report.verdict).to.equal('incomplete')
    expect(report.sentence).to.include('spool.full')
    expect(report.gaps).to.deep.equal([{ writer: WRITER, by: WRITER, seq: last, reason: 'spool.full', count: 12 }])
  })

  it('says so far while the writer is at work, and cut when it no longer is', async () => {
    await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, story.slice(0, -1)))
    expect(await check()).to.include({ verdict: 'consistent', soFar: true })
    expect((await check(undefined, now() + 3_600_000)).sentence).to.include('the writer was cut')
    const next = [frameLine('writer-b', 0, { kind: 'writer.start', format: 1, steno: '0', host: 'h', pid: 1, recovered: [{ writer: WRITER, frames: 3, state: 'cut' }] }), frameLine('writer-b', 1, { kind: 'writer.stop', reason: 'x' })]
    await writeFileIn(folder, 'b.jsonl.gz', segmentMember('writer-b', next))
    expect((await check()).verdict).to.equal('incomplete')
  })

  it('finds an index that names one session twice in place of another', async () => {
    const two = [...story.slice(0, -1), frameLine(WRITER, story.length - 1, { kind: 'session.start', session: 'hidden', basis: 'idle', server: { name: 'x', url: 'http://x' } })]
    await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, two, { index: { sessions: ['session-one', 'session-one'] } }))
    expect((await check()).findings[0]).to.include({ reason: 'index' })
  })

  it('finds an index that hides a session', async () => {
    await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, story, { index: { sessions: ['session-0ne'] } }))
    const report = await check()
    expect(report.verdict).to.equal('broken')
    expect(report.findings[0]).to.include({ reason: 'index', object: 'a.jsonl.gz', offset: 0 })
  })

  it('costs one member when one is damaged, and says where', async () => {
    const members = [segmentMember(WRITER, story, { to: 4 }), segmentMember(WRITER, story, { from: 4, to: 8 }), segmentMember(WRITER, story, { from: 8 })]
    const damaged = Buffer.from(members[1] as Buffer)
    damaged[damaged.length - 60] = (damaged[damaged.length - 60] ?? 0) ^ 0xff
    await writeFileIn(folder, 'a.jsonl.gz', Buffer.concat([members[0] as Buffer, damaged, members[2] as Buffer]))
    const report = await check()
    expect(report.verdict).to.equal('incomplete')
    expect(report.findings[0]).to.include({ reason: 'damaged', offset: members[0]?.length })
    expect(report.writers[0]?.holes).to.deep.equal([{ from: 4, to: 7 }])
  })

  it('checks one session, whatever happened to its writer later', async () => {
    const two = storyLines(WRITER, { stop: false })
    const lines = [...two, ...Array.from({ length: 8 }, (_, at) => frameLine(WRITER, two.length + at, { kind: 'session.start', session: 'late', basis: 'idle', server: { name: 'x', url: 'http://x' } }))]
    await writeArchive(folder, WRITER, lines, 4)
    const names = await readdir(join(folder, '2026/01/02/03'))
    await rm(join(folder, '2026/01/02/03', names.find(name => name.includes(`-${two.length + 1}-`) || name.endsWith(`-${lines.length - 2}.jsonl.gz`) || name.includes('-20-')) ?? ''))
    const recording = await openRecording({ type: 'directory', path: folder }, { now, tempDir: tmpdir() })
    try {
      const session = await recording.session('session-one')
      const report = await verify({ archive: recording.archive, ...(session === undefined ? {} : { session }) }, { now })
      expect((await check()).verdict).to.equal('incomplete')
      expect(report.verdict).to.equal('consistent')
    } finally {
      await recording.close()
    }
  })

  it('never says consistent for a changed byte of a segment', async function () {
    this.timeout(120_000)
    const lines = storyLines(WRITER, { calls: 0 })
    const member = segmentMember(WRITER, lines)
    const path = join(folder, 'a.jsonl.gz')
    const payload = gunzipSync(member)
    for (let at = 0; at < member.length; at++) {
      for (const bit of [1, 0x80]) {
        const bytes = Buffer.from(member)
        bytes[at] = (bytes[at] ?? 0) ^ bit
        await writeFile(path, bytes)
        const report = await check()
        if (report.verdict !== 'consistent') continue
        // FTEXT, MTIME, XFL, OS, an unreadable index and the deflate padding carry no meaning: then the payload must be the same.
        let same = false
        try {
          same = gunzipSync(bytes).equals(payload)
        } catch {
          same = false
        }
        expect(same, `byte ${at} bit ${bit}`).to.equal(true)
      }
    }
  })

  it('never says consistent for a changed byte of a plain segment', async function () {
    this.timeout(120_000)
    const payload = Buffer.from(segmentPayload(WRITER, storyLines(WRITER, { calls: 0 })))
    const path = join(folder, 'a.jsonl')
    for (let at = 0; at < payload.length - 1; at++) {
      const bytes = Buffer.from(payload)
      bytes[at] = (bytes[at] ?? 0) ^ 1
      await writeFile(path, bytes)
      expect((await check()).verdict, `byte ${at}: ${bytes.subarray(Math.max(0, at - 20), at + 20).toString()}`).to.not.equal('consistent')
    }
  })

  it('never says consistent for a recording cut at any byte', async function () {
    this.timeout(120_000)
    const lines = storyLines(WRITER, { calls: 0 })
    const path = join(folder, 'a.jsonl.gz')
    const bytes = Buffer.concat([segmentMember(WRITER, lines, { to: 3 }), segmentMember(WRITER, lines, { from: 3 })])
    for (let length = 0; length < bytes.length; length++) {
      await writeFile(path, bytes.subarray(0, length))
      expect((await check(undefined, now() + 3_600_000)).verdict, `${length} bytes`).to.equal('incomplete')
    }
    expect(await readFile(path)).to.have.length(bytes.length - 1)
  })

  for (const text of ['', '[]', '{}', '{"format":2}', '{"format":1,"time":"x","writers":[]}', '{"format":1,"time":"2026-01-02T03:04:05Z","writers":[{"writer":"a","count":0,"head":""}]}']) {
    it(`parseAnchor() refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseAnchor(text)).to.throw('this is not an anchor')
    })
  }
})
