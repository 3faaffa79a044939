import { appendFile, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'

import { expect } from 'chai'

import { openRecording } from '../../../src/archive/open-recording.ts'
import type { RecordingSource } from '../../../src/archive/open-recording.ts'
import type { OpenRecording } from '../../../src/archive/catalog-recording.ts'
import { UNGROUPED } from '../../../src/record/recording.ts'
import { frameLine, segmentMember, segmentPayload, storyLines, writeArchive, writeFileIn } from '../../support/build-recording.ts'

const WRITER = 'writer-a'

describe('openRecording()', () => {
  let folder: string
  let clock = Date.parse('2026-01-02T03:05:00Z')
  const opened: OpenRecording[] = []

  const open = async (source: RecordingSource): Promise<OpenRecording> => {
    const recording = await openRecording(source, { now: () => clock, tempDir: tmpdir() })
    opened.push(recording)
    return recording
  }
  const linesOf = async (recording: OpenRecording, session: string): Promise<string[]> => {
    const lines: string[] = []
    for await (const { line } of recording.frames(session)) lines.push(line)
    return lines
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'archive-'))
    clock = Date.parse('2026-01-02T03:05:00Z')
  })
  afterEach(async () => {
    for (const recording of opened.splice(0)) await recording.close()
    await rm(folder, { recursive: true, force: true })
  })

  const story = storyLines(WRITER)
  const inSession = story.slice(1, -1)

  it('lists a session and gives its frames with those from before it had an id', async () => {
    await writeArchive(folder, WRITER, story, 5)
    const recording = await open({ type: 'directory', path: folder })
    const [summary, ...others] = await recording.sessions({ limit: 10 })
    expect(others).to.deep.equal([])
    expect(summary).to.include({ id: 'session-one', state: 'ended', exchanges: 3, calls: 3, errors: 0, frames: inSession.length, workload: 'deployment/everything' })
    expect(summary?.tools).to.deep.equal(['echo'])
    expect(await linesOf(recording, 'session-one')).to.deep.equal(inSession)
    expect((await recording.session('sess'))?.id).to.equal('session-one')
    expect((await recording.frame(WRITER, 3))?.line).to.equal(story[3])
    expect(await recording.frame(WRITER, 300)).to.equal(undefined)
  })

  it('does not call a session ended that another writer goes on with', async () => {
    const session = { session: 'session-one', exchange: 0 }
    const end = { kind: 'session.end', session: 'session-one', reason: 'shutdown', totals: { exchanges: 1, calls: 1, errors: 0, bytes: 1 } }
    const start = { kind: 'exchange.start', ...session, method: 'GET', target: '/', headers: {}, peer: 'a', era: 'none' }
    await writeArchive(folder, 'writer-a', [frameLine('writer-a', 0, start, 0), frameLine('writer-a', 1, end, 10), frameLine('writer-a', 2, { kind: 'writer.stop', reason: 'signal' }, 11)])
    await writeArchive(folder, 'writer-b', [frameLine('writer-b', 0, start, 1000)])
    const recording = await open({ type: 'directory', path: folder })
    expect((await recording.session('session-one'))?.state).to.equal('live')
    await writeArchive(folder, 'writer-b', [frameLine('writer-b', 0, start, 1000), frameLine('writer-b', 1, end, 900)])
    expect((await (await open({ type: 'directory', path: folder })).session('session-one'))?.state).to.equal('ended')
  })

  it('reads the same whatever the order, the borders and the duplicates', async () => {
    await writeFileIn(folder, 'a.jsonl.gz', Buffer.concat([segmentMember(WRITER, story, { from: 9 }), segmentMember(WRITER, story, { from: 4, to: 11 })]))
    await writeFileIn(folder, 'b/c.jsonl.gz', segmentMember(WRITER, story, { to: 6 }))
    await writeFileIn(folder, 'b/d.jsonl.gz', segmentMember(WRITER, story, { from: 2, to: 9 }))
    await writeFileIn(folder, 'b/e.jsonl', segmentPayload(WRITER, story))
    await writeFileIn(folder, 'b/f.jsonl.gz', gzipSync(segmentPayload(WRITER, story)))
    const recording = await open({ type: 'directory', path: folder })
    expect((await recording.sessions({ limit: 10 })).map(each => [each.id, each.frames, each.exchanges, each.calls])).to.deep.equal([['session-one', inSession.length, 3, 3]])
    expect(await linesOf(recording, 'session-one')).to.deep.equal(inSession)
  })

  for (const kind of ['segment', 'plain', 'foreign', 'shuffled'] as const) {
    it(`reads one ${kind} file, and the same from a stream`, async () => {
      const payload = segmentPayload(WRITER, story)
      const shuffled = [...story.slice(8), ...story.slice(0, 8).reverse(), ''].join('\n')
      const bytes = { segment: segmentMember(WRITER, story), plain: Buffer.from(payload), foreign: gzipSync(payload), shuffled: Buffer.from(shuffled) }[kind]
      await writeFile(join(folder, 'one'), bytes)
      const recording = await open({ type: 'file', path: join(folder, 'one') })
      expect(await linesOf(recording, 'session-one')).to.deep.equal(inSession)
      const streamed = await open({ type: 'stream', stream: Readable.from([bytes.subarray(0, 7), bytes.subarray(7)]), name: 'stdin' })
      expect(await linesOf(streamed, 'session-one')).to.deep.equal(inSession)
    })
  }

  it('follows an archive that grows', async () => {
    await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, story, { to: 3 }))
    const recording = await open({ type: 'directory', path: folder })
    expect((await recording.sessions({ limit: 10 })).map(each => [each.id, each.state])).to.deep.equal([[UNGROUPED, 'live']])
    const rest = segmentMember(WRITER, story, { from: 3, to: 9 })
    await appendFile(join(folder, 'a.jsonl.gz'), rest.subarray(0, 50))
    clock += 1000
    expect((await recording.sessions({ limit: 10 })).map(each => each.id)).to.deep.equal([UNGROUPED])
    expect(recording.findings().map(each => each.reason)).to.deep.equal(['cut'])
    await appendFile(join(folder, 'a.jsonl.gz'), rest.subarray(50))
    clock += 1000
    expect((await recording.sessions({ limit: 10 })).map(each => [each.id, each.state, each.frames])).to.deep.equal([['session-one', 'live', 8]])
    expect(recording.findings()).to.deep.equal([])
    clock += 3_600_000
    expect((await recording.session('session-one'))?.state).to.equal('incomplete')
    await writeFileIn(folder, 'b/c.jsonl.gz', segmentMember(WRITER, story, { from: 9 }))
    clock += 1000
    expect((await recording.session('session-one'))?.state).to.equal('ended')
  })

  it('forgets what is gone and reads a rewritten object anew', async () => {
    await writeArchive(folder, WRITER, story, 100)
    await writeArchive(folder, 'writer-b', storyLines('writer-b', { session: 'session-two' }), 100)
    const recording = await open({ type: 'directory', path: folder })
    expect(await recording.sessions({ limit: 10 })).to.have.length(2)
    await rm(join(folder, '2026/01/02/03', `${WRITER}-0-${story.length - 1}.jsonl.gz`))
    clock += 1000
    expect((await recording.sessions({ limit: 10 })).map(each => each.id)).to.deep.equal(['session-two'])
  })

  it('builds the catalog anew when it is damaged or of another version', async () => {
    await writeArchive(folder, WRITER, story, 5)
    for (const damage of ['noise that is not a database, long enough to be looked at as one', '']) {
      const first = await open({ type: 'directory', path: folder })
      await first.close()
      opened.length = 0
      const [name] = (await readdir(join(folder, '.catalog'))).filter(each => each.endsWith('.sqlite'))
      await writeFile(join(folder, '.catalog', name ?? ''), damage)
      const again = await open({ type: 'directory', path: folder })
      expect(await again.sessions({ limit: 10 })).to.have.length(1)
      await again.close()
      opened.length = 0
    }
  })

  it('never follows a link out of the folder, and passes over dot files', async () => {
    await writeFileIn(folder, 'outside.jsonl', segmentPayload(WRITER, story))
    await writeFileIn(folder, 'archive/.hidden.jsonl', segmentPayload(WRITER, story))
    await symlink(join(folder, 'outside.jsonl'), join(folder, 'archive/link.jsonl'))
    await symlink(folder, join(folder, 'archive/linked'))
    const recording = await open({ type: 'directory', path: join(folder, 'archive') })
    expect(await recording.sessions({ limit: 10 })).to.deep.equal([])
  })

  it('says incomplete when a gap touches the session, and shows the gap', async () => {
    const lines = story.slice(0, 8)
    lines.push(frameLine(WRITER, 8, { kind: 'gap', reason: 'spool.full', count: 3 }), ...storyLines(WRITER).slice(9))
    await writeFileIn(folder, 'a.jsonl.gz', segmentMember(WRITER, lines))
    const recording = await open({ type: 'directory', path: folder })
    expect(await recording.session('session-one')).to.include({ state: 'incomplete', gaps: 1 })
    expect(await linesOf(recording, 'session-one')).to.include(lines[8])
  })

  it('shows only frames that were recorded, whichever byte of a segment is changed or cut', async function () {
    this.timeout(120_000)
    const lines = storyLines(WRITER, { calls: 0 })
    const member = segmentMember(WRITER, lines)
    const path = join(folder, 'one')
    const shown = async (bytes: Buffer): Promise<string[]> => {
      await writeFile(path, bytes)
      const recording = await openRecording({ type: 'file', path }, { now: () => clock, tempDir: tmpdir() }).catch((error: unknown) => error)
      if (recording instanceof Error) return []
      const all: string[] = []
      for (const id of ['session-one', UNGROUPED]) all.push(...(await linesOf(recording as OpenRecording, id)))
      await (recording as OpenRecording).close()
      return all
    }
    for (let at = 0; at < member.length; at++) {
      const flipped = Buffer.from(member)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << at % 8)
      for (const line of await shown(flipped)) expect(lines, `byte ${at}`).to.include(line)
      expect(await shown(member.subarray(0, at)), `${at} bytes`).to.deep.equal([])
    }
  })

  it('refuses what is missing, what is no recording and what comes from the future', async () => {
    const failure = async (source: RecordingSource): Promise<unknown> => open(source).then(() => 'opened', (error: unknown) => (error as { code?: string }).code)
    expect(await failure({ type: 'directory', path: join(folder, 'none') })).to.equal('archive.missing')
    expect(await failure({ type: 'file', path: join(folder, 'none') })).to.equal('archive.missing')
    await writeFile(join(folder, 'noise.jsonl'), 'hello\nworld\n')
    expect(await failure({ type: 'file', path: join(folder, 'noise.jsonl') })).to.equal('recording.invalid')
    await writeFile(join(folder, 'future.jsonl.gz'), segmentMember(WRITER, story, { format: 2 }))
    expect(await failure({ type: 'file', path: join(folder, 'future.jsonl.gz') })).to.equal('recording.version')
  })
})
