import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { directoryArchive, fileArchive } from '../../../src/archive/directory.ts'
import { exportSession } from '../../../src/archive/export.ts'
import { openRecording, sourceAt } from '../../../src/archive/open-recording.ts'
import { verify } from '../../../src/archive/verify.ts'
import { readMemberHeader } from '../../../src/record/member.ts'
import { headsOf, segmentPayload, sha256 } from '../../support/build-recording.ts'
import { hasPython } from '../../support/python-reader.ts'
import type { TheirReading } from '../../support/python-reader.ts'

const ROOT = new URL('../../..', import.meta.url).pathname
const RECORDINGS = join(ROOT, 'test/recordings')
const now = (): number => Date.parse('2026-01-02T03:05:00Z')
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')

describe('the recording format', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'format-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('has test vectors in its document that come out the same here', async () => {
    const text = await readFile(join(ROOT, 'docs/recording-format.md'), 'utf8')
    const block = (name: string): string[] => (new RegExp(`\`\`\`${name}\\n([^\`]*)\\n\`\`\``).exec(text)?.[1] ?? '').split('\n')
    const lines = block('vectors')
    expect(lines.map(line => createHash('sha256').update(line).digest('hex'))).to.deep.equal(block('leaves'))
    expect(headsOf('w1', lines).map(hex)).to.deep.equal(block('heads'))
    const member = Buffer.from(block('member')[0] ?? '', 'hex')
    expect(gunzipSync(member).toString()).to.equal(segmentPayload('w1', lines))
    expect(readMemberHeader(member)).to.deep.include({ memberLength: member.length, index: { writer: 'w1', firstSeq: 0, lastSeq: 2, frames: 3, sessions: ['s1'] } })
    expect(hex(sha256(Buffer.from(lines[0] ?? '')))).to.equal(block('leaves')[0])
    await writeFile(join(folder, 'v.jsonl.gz'), member)
    expect((await verify({ archive: await directoryArchive(folder) }, { now })).verdict).to.equal('consistent')
  })

  for (const [name, verdict] of [['current', 'consistent'], ['duplicated.jsonl.gz', 'consistent'], ['cut-tail.jsonl.gz', 'incomplete'], ['edited.jsonl.gz', 'broken'], ['reordered.jsonl.gz', 'broken']] as const) {
    it(`${name} is ${verdict} for us and for an independent reader`, async function () {
      await cp(join(RECORDINGS, name), join(folder, name), { recursive: true })
      const path = join(folder, name)
      const report = await verify({ archive: name === 'current' ? await directoryArchive(path) : await fileArchive(path) }, { now: () => now() + 3_600_000 })
      expect(report.verdict).to.equal(verdict)
      const recording = await openRecording(await sourceAt(path), { now, tempDir: tmpdir() })
      try {
        const sessions = Object.fromEntries((await recording.sessions({ limit: 100 })).map(each => [each.id, each.frames]))
        if (!hasPython()) return this.skip()
        const theirs = await readWithPython(path)
        expect(theirs).to.include({ verdict })
        expect(theirs.sessions).to.deep.equal(sessions)
        if (verdict === 'consistent') expect(theirs.writers).to.deep.equal(Object.fromEntries(report.writers.map(each => [each.writer, each.head])))
      } finally {
        await recording.close()
      }
    })
  }

  it('exports that an independent reader verifies', async function () {
    if (!hasPython()) return this.skip()
    await cp(join(RECORDINGS, 'current'), folder, { recursive: true })
    const recording = await openRecording(await sourceAt(folder), { now, tempDir: tmpdir() })
    try {
      for (const raw of [true, false]) {
        const lines: string[] = []
        for await (const line of exportSession(recording, 'session-one', { raw }).lines) lines.push(line)
        await writeFile(join(folder, '.export'), `${lines.join('\n')}\n`)
        expect(await readWithPython(join(folder, '.export'))).to.deep.include({ verdict: 'consistent', sessions: { 'session-one': 14 } })
      }
    } finally {
      await recording.close()
    }
  })

  it('from-the-future.jsonl.gz is refused with advice', async () => {
    const error: unknown = await openRecording({ type: 'file', path: join(RECORDINGS, 'from-the-future.jsonl.gz') }, { now, tempDir: tmpdir() }).catch((cause: unknown) => cause)
    expect(error).to.include({ code: 'recording.version' })
    expect((error as Error).message).to.match(/has format 2.*newer steno/)
  })
})

async function readWithPython(path: string): Promise<TheirReading> {
  const { stdout } = await promisify(execFile)('python3', [join(ROOT, 'test/support/read_recording.py'), path])
  return JSON.parse(stdout) as TheirReading
}
