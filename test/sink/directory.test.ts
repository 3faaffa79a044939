import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { createSink } from '../../src/sink/create-sink.ts'
import type { Receipt, Segment, Sink } from '../../src/sink/sink.ts'

const HOUR = ['2026', '01', '02', '03']

describe('directory sink', () => {
  let folder: string
  let archive: string
  let nowMs: number
  let sink: Sink
  const put = async (one: Segment): Promise<Receipt | undefined> => (await sink.put([one], new AbortController().signal))[0]
  const segment = (text: string, firstSeq = 0, lastSeq = 5): Segment => ({ index: { writer: 'w1', firstSeq, lastSeq, frames: lastSeq - firstSeq + 1, sessions: [] }, bytes: Buffer.from(text) })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sink-'))
    archive = join(folder, 'archive')
    nowMs = Date.parse('2026-01-02T03:59:59.999Z')
    sink = await createSink({ type: 'directory', path: archive }, () => nowMs)
  })
  afterEach(async () => {
    await sink.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('writes a segment under the hour of its arrival, readable by its group and nobody else', async () => {
    expect(await put(segment('one'))).to.equal('accepted')
    const path = join(archive, ...HOUR, 'w1-000000000000-000000000005.jsonl.gz')
    expect(await readFile(path, 'utf8')).to.equal('one')
    expect((await stat(path)).mode & 0o007).to.equal(0)
    nowMs++
    expect(await put(segment('two', 6, 9))).to.equal('accepted')
    expect(await readdir(join(archive, '2026', '01', '02', '04'))).to.deep.equal(['w1-000000000006-000000000009.jsonl.gz'])
    expect(await readdir(archive)).to.deep.equal(['2026'])
  })

  it('takes the same segment again', async () => {
    expect(await put(segment('one'))).to.equal('accepted')
    expect(await put(segment('one'))).to.equal('accepted')
    expect(await readdir(join(archive, ...HOUR))).to.have.length(1)
  })

  it('writes over the draft that a crash has left', async () => {
    await mkdir(archive)
    await writeFile(join(archive, '.w1.part'), 'half a segment, longer than the next one')
    expect(await put(segment('whole'))).to.equal('accepted')
    expect(await readdir(archive)).to.deep.equal(['2026'])
    expect(await readFile(join(archive, ...HOUR, 'w1-000000000000-000000000005.jsonl.gz'), 'utf8')).to.equal('whole')
  })

  it('takes no more than the folder may hold, until somebody deletes from it', async () => {
    const bounded = await createSink({ type: 'directory', path: archive, maxBytes: 10 }, () => nowMs)
    const offer = async (one: Segment): Promise<Receipt | undefined> => (await bounded.put([one], new AbortController().signal))[0]
    expect(await offer(segment('sixsix'))).to.equal('accepted')
    for (const _ of [1, 2]) expect(await offer(segment('fives', 6, 9))).to.have.property('code', 'sink.full')
    expect(await offer(segment('four', 6, 9))).to.equal('accepted')
    await rm(join(archive, '2026'), { recursive: true })
    await bounded.close()
    const again = await createSink({ type: 'directory', path: archive, maxBytes: 10 }, () => nowMs)
    expect((await again.put([segment('ten bytes!')], new AbortController().signal))[0]).to.equal('accepted')
    await again.close()
  })

  it('rejects with sink.io and what to look at, leaves no draft, and takes the segment when the cause is gone', async () => {
    const before = readdirSync('/dev/fd').length
    const refused = (): Promise<unknown> => put(segment('x'))
    await writeFile(archive, 'a file')
    expect(await refused()).to.include({ code: 'sink.io' }).with.property('message').that.includes(archive)
    await rm(archive)
    await mkdir(join(archive, ...HOUR, 'w1-000000000000-000000000005.jsonl.gz'), { recursive: true })
    expect(await refused()).to.include({ code: 'sink.io' })
    expect(await readdir(archive)).to.deep.equal(['2026'])
    await rm(join(archive, '2026'), { recursive: true })
    expect(await put(segment('x'))).to.equal('accepted')
    // The folder that it knew is taken away under it: once it fails, then it is made anew.
    await rm(archive, { recursive: true })
    expect(await refused()).to.include({ code: 'sink.io' })
    expect(await put(segment('x'))).to.equal('accepted')
    expect(await readdir(join(archive, ...HOUR))).to.have.length(1)
    expect(readdirSync('/dev/fd').length).to.be.at.most(before)
  })
})
