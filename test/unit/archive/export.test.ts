import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { makeAnchor } from '../../../src/archive/anchor.ts'
import type { OpenRecording } from '../../../src/archive/catalog-recording.ts'
import { exportSession } from '../../../src/archive/export.ts'
import { openRecording, sourceAt } from '../../../src/archive/open-recording.ts'
import { verify } from '../../../src/archive/verify.ts'
import { frameLine, storyLines, writeArchive } from '../../support/build-recording.ts'

const now = (): number => Date.parse('2026-01-02T03:05:00Z')

describe('exportSession()', () => {
  let folder: string
  const opened: OpenRecording[] = []
  const one = storyLines('writer-a', { stop: false })
  const two = storyLines('writer-a', { session: 'session-two' }).slice(1)
  // A second session of the same writer: its frames are nobody's business in an export of the first.
  const renumbered = two.map((line, at) => frameLine('writer-a', one.length + at, { ...fieldsOf(line), ...shifted(line) }))
  const lines = [...one, ...renumbered]

  const open = async (path: string): Promise<OpenRecording> => {
    const recording = await openRecording(await sourceAt(path), { now, tempDir: tmpdir() })
    opened.push(recording)
    return recording
  }
  const exported = async (recording: OpenRecording, session: string, raw: boolean): Promise<{ text: string[]; counts: unknown }> => {
    const out = exportSession(recording, session, { raw })
    const text: string[] = []
    for await (const line of out.lines) text.push(line)
    return { text, counts: out.counts() }
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'export-'))
    await writeArchive(folder, 'writer-a', lines, 5)
  })
  afterEach(async () => {
    for (const recording of opened.splice(0)) await recording.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('raw: gives the session as exact lines and everything else as leaves', async () => {
    const { text } = await exported(await open(folder), 'session-two', true)
    const frames = text.filter(line => line.startsWith('{"writer"'))
    expect(frames).to.deep.equal(renumbered.slice(0, -1))
    expect(text.join('\n')).to.not.include('session-one')
    const header = JSON.parse(text[0] ?? '') as { writers: { firstSeq: number; lastSeq: number }[] }
    expect(header.writers[0]).to.include({ firstSeq: one.length, lastSeq: lines.length - 1 })
  })

  it('is a recording that reads back, verifies with the anchor of its source, and shows an edit', async () => {
    const recording = await open(folder)
    const anchor = makeAnchor(await verify({ archive: recording.archive }, { now }), '2026-01-02T03:05:00Z')
    for (const session of ['session-one', 'session-two']) {
      const { text } = await exported(recording, session, true)
      const path = join(folder, `.${session}`)
      await writeFile(path, `${text.join('\n')}\n`)
      const again = await open(path)
      expect((await again.sessions({ limit: 9 })).map(each => [each.id, each.state])).to.deep.equal([[session, 'ended']])
      expect((await verify({ archive: again.archive }, { now })).verdict).to.equal('consistent')
      expect((await verify({ archive: again.archive, anchor }, { now })).verdict).to.equal('verified')
      expect((await exported(again, session, true)).text).to.deep.equal(text)
      await writeFile(path, `${text.join('\n').replace('grüße', 'Grüße')}\n`)
      expect((await verify({ archive: again.archive, anchor }, { now })).verdict).to.equal('broken')
    }
  })

  it('cleaned: takes secrets and peers out, keeps the chain, and says which lines it changed', async () => {
    const recording = await open(folder)
    const { text, counts } = await exported(recording, 'session-one', false)
    expect(text.join('\n')).to.not.match(/hunter2|10\.0\.0\.7/)
    expect(counts).to.include({ cleanedLines: 6, changes: 6 })
    const path = join(folder, '.cleaned')
    await writeFile(path, text.join('\n'))
    const again = await open(path)
    expect((await again.session('session-one'))?.frames).to.equal((await recording.session('session-one'))?.frames)
    const anchor = makeAnchor(await verify({ archive: recording.archive }, { now }), '2026-01-02T03:05:00Z')
    const report = await verify({ archive: again.archive, anchor }, { now })
    expect(report.verdict).to.equal('consistent')
    expect(report.sentence).to.include('Cleaned for export, so not as recorded: frames 1, 2, 6')
    expect((await exported(again, 'session-one', false)).text).to.deep.equal(text)
  })

  it('refuses a session that is not there', async () => {
    const recording = await open(folder)
    const error = await exported(recording, 'session-none', true).catch((cause: unknown) => cause)
    expect(error).to.include({ code: 'recording.not-found' })
  })
})

function fieldsOf(line: string): { kind: string; [field: string]: unknown } {
  const { writer: _writer, seq: _seq, time: _time, elapsedUs: _elapsed, salt: _salt, ...fields } = JSON.parse(line) as { kind: string; [field: string]: unknown }
  return fields
}

function shifted(line: string): { exchange?: number } {
  const { exchange } = JSON.parse(line) as { exchange?: number }
  return exchange === undefined ? {} : { exchange: exchange + 10 }
}
