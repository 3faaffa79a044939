import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { expect } from 'chai'

import { bodyOf, call, httpUpstream, readRecorded, recorderBefore, result } from '../support/recorder.ts'
import type { Recorded, RecorderUnderTest, Upstream } from '../support/recorder.ts'
import { faultyFs } from '../support/spool-faulty-fs.ts'
import { imageVolume, memoryVolume } from '../support/volume.ts'
import type { Volume } from '../support/volume.ts'

const MIB = 1024 * 1024
const STENO = join(import.meta.dirname, '../../steno')
/** A spool's first file is 1 MiB: it is full after a few of these. */
const TEXT = 'x'.repeat(100_000)

interface Answer {
  readonly id: number
  readonly result?: object
  readonly error?: { readonly code: number; readonly data: { readonly reason: string; readonly forwarded: boolean } }
}

describe('recorder on a disk that fails', () => {
  let upstream: Upstream
  let asked: number[]
  let recorder: RecorderUnderTest | undefined
  let folder: string
  let volume: Volume | undefined

  beforeEach(async () => {
    asked = []
    folder = await mkdtemp(join(tmpdir(), 'disk-'))
    await mkdir(join(folder, 'archive'))
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        const { id } = JSON.parse(body.toString()) as { id: number }
        asked.push(id)
        res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(id))
      })
    })
  })
  afterEach(async () => {
    await recorder?.dispose()
    await upstream.close()
    await volume?.unmount()
    await rm(folder, { recursive: true, force: true })
    recorder = volume = undefined
  })

  /** Skips the test where no file system can be mounted. */
  const mountOrSkip = <V extends Volume>(test: Mocha.Context, mounted: V | string): V => {
    if (typeof mounted === 'string') {
      console.log(`      cannot mount a file system (run as root to have this tested): ${mounted}`)
      return test.skip()
    }
    volume = mounted
    return mounted
  }
  const send = async (url: string, id: number): Promise<Answer> => {
    const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: call(id, 'echo', { text: TEXT }) })
    expect(response.status).to.equal(200)
    return (await response.json()) as Answer
  }
  /** Calls until one is refused. @returns ids that were answered */
  const untilRefused = async (url: string): Promise<number[]> => {
    for (let id = 1; id < 500; id++) {
      const answer = await send(url, id)
      if (answer.error === undefined) continue
      expect(answer.error).to.deep.include({ code: -31_001 })
      expect(answer.error.data.reason).to.equal('recording-impossible')
      return Array.from({ length: id - 1 }, (_, at) => at + 1)
    }
    throw new Error('nothing was ever refused')
  }
  const ready = async (is: (status: number, text: string) => boolean): Promise<string> => {
    for (;;) {
      const response = await fetch(`${recorder?.adminUrl}/readyz`)
      const text = await response.text()
      if (is(response.status, text)) return text
    }
  }
  const archived = async (archive: string, when: (recorded: Recorded) => boolean): Promise<Recorded> => {
    for (;;) {
      const recorded = await readRecorded(archive)
      if (when(recorded)) return recorded
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const answeredIn = (recorded: Recorded): unknown[] => recorded.of('mcp').filter(frame => frame.from === 'server' && frame.errorCode === undefined).map(frame => frame.rpcId)

  for (const where of ['spool', 'spool and archive']) {
    it(`forwards nothing from the moment its ${where} is full, writes the last gap into the reserve, and goes on when there is room again`, async function () {
      const disk = mountOrSkip(this, await memoryVolume(24 * MIB))
      const archive = join(where === 'spool' ? folder : disk.path, 'archive')
      recorder = await recorderBefore(upstream.url, { spoolDirectory: join(disk.path, 'spool'), sink: { type: 'directory', path: archive } })
      await disk.fill(64 * 1024)
      const answered = await untilRefused(recorder.url)
      const forwarded = [...asked]
      for (let id = 1001; id <= 1010; id++) expect((await send(recorder.url, id)).error?.data).to.deep.equal({ reason: 'recording-impossible', forwarded: false })
      expect(asked).to.deep.equal(forwarded)
      // Also a sink on that disk may have failed by now: then the pod stays ready, and says that it refuses.
      expect(await ready((status, text) => status === 503 || (where === 'spool and archive' && text.startsWith('degraded: refusing')))).to.match(/no room/)
      // Still full: the gap came through the reserve.
      if (where === 'spool') expect((await archived(archive, recorded => recorded.of('gap').length > 0)).of('gap').map(gap => gap.reason)).to.deep.equal(['spool-full'])
      await disk.free()
      await ready((status, text) => status === 200 && !text.includes('refusing'))
      expect(await send(recorder.url, 2000)).to.include({ id: 2000 }).and.not.have.property('error')
      await recorder.dispose()
      const recorded = await readRecorded(archive)
      expect(answeredIn(recorded)).to.include.members([...answered, 2000])
      expect(recorded.of('gap').map(gap => gap.reason)).to.deep.equal(['spool-full', 'blocked'])
      expect(recorded.of('gap')[1]?.count).to.be.greaterThan(9)
      expect(recorded.verdict).to.equal('incomplete')
    })
  }

  it('forwards under Allow while its disk is full, and declares what passed unrecorded when there is room again', async function () {
    const disk = mountOrSkip(this, await memoryVolume(24 * MIB))
    recorder = await recorderBefore(upstream.url, { spoolDirectory: join(disk.path, 'spool'), onFailure: 'allow' })
    await disk.fill(64 * 1024)
    let id = 0
    for (let text = ''; !text.includes('degraded'); text = await ready(status => status === 200)) await send(recorder.url, ++id)
    const before = id
    for (; id < before + 10; ) expect(await send(recorder.url, ++id)).to.not.have.property('error')
    expect(asked).to.have.length(id)
    await disk.free()
    await ready((status, text) => status === 200 && !text.includes('degraded'))
    await send(recorder.url, 2000)
    const recorded = await recorder.stop()
    expect(recorded.of('gap').map(gap => gap.reason)).to.deep.equal(['spool-full', 'unrecorded'])
    expect(recorded.of('gap')[1]?.count).to.be.at.least(20)
    expect(answeredIn(recorded)).to.include(2000)
    expect(recorded.verdict).to.equal('incomplete')
  })

  it('forwards nothing while fsync fails, and goes on when it does not any more', async function () {
    // A file system in a sparse file on a volume that is full: the kernel takes what is written, and cannot keep it.
    const below = await memoryVolume(24 * MIB)
    if (typeof below === 'string') return mountOrSkip(this, below) as never
    const disk = await imageVolume(join(below.path, 'image'), 128 * MIB)
    try {
      recorder = await recorderBefore(upstream.url, { spoolDirectory: join(mountOrSkip(this, disk).path, 'spool') })
      await below.fill(0)
      const answered = await untilRefused(recorder.url)
      const forwarded = [...asked]
      for (let id = 1001; id <= 1010; id++) expect((await send(recorder.url, id)).error?.data.forwarded).to.equal(false)
      expect(asked).to.deep.equal(forwarded)
      await below.free()
      await ready(status => status === 200)
      await send(recorder.url, 2000)
      const recorded = await recorder.stop()
      expect(answeredIn(recorded)).to.include.members([...answered, 2000])
      expect(recorded.of('gap').map(gap => gap.reason)).to.include('blocked')
      expect(recorded.verdict).to.equal('incomplete')
    } finally {
      await recorder?.dispose()
      if (typeof disk !== 'string') await disk.unmount()
      await below.unmount()
    }
  })

  it('forwards nothing from the moment its disk is read-only, and the next start ships what was recorded', async function () {
    const disk = await imageVolume(join(folder, 'image'), 64 * MIB)
    const mounted = mountOrSkip(this, disk)
    if (typeof disk === 'string') return
    const spoolDirectory = join(mounted.path, 'spool')
    const archive = join(folder, 'archive')
    recorder = await recorderBefore(upstream.url, { spoolDirectory, sink: { type: 'directory', path: archive }, lingerMs: 3_600_000 })
    for (const id of [1, 2, 3]) await send(recorder.url, id)
    await disk.abort()
    const answer = await send(recorder.url, 4)
    expect(answer.error?.data.reason).to.equal('recording-impossible')
    const forwarded = [...asked]
    for (let id = 1001; id <= 1010; id++) expect((await send(recorder.url, id)).error?.data).to.deep.equal({ reason: 'recording-impossible', forwarded: false })
    expect(asked).to.deep.equal(forwarded)
    expect(await ready(status => status === 503)).to.include('EROFS')
    await recorder.dispose()
    await disk.unmount()
    await disk.mountAgain()
    recorder = await recorderBefore(upstream.url, { spoolDirectory, sink: { type: 'directory', path: archive } })
    await recorder.dispose()
    const recorded = await readRecorded(archive)
    expect(answeredIn(recorded)).to.deep.equal([1, 2, 3])
    expect(recorded.of('gap').map(gap => gap.reason)).to.include('cut')
    expect(recorded.verdict).to.equal('incomplete')
  })

  it('declares what it cost that its spool directory was removed, and records on', async () => {
    recorder = await recorderBefore(upstream.url, { lingerMs: 3_600_000 })
    for (const id of [1, 2, 3]) await send(recorder.url, id)
    await rm(recorder.spool, { recursive: true })
    for (const id of [4, 5, 6]) expect(await send(recorder.url, id)).to.not.have.property('error')
    while (!recorder.log().includes('could not be read back')) await new Promise(resolve => setTimeout(resolve, 5))
    const recorded = await recorder.stop()
    const first = recorded.frames[0]?.seq ?? 0
    expect(first).to.be.greaterThan(0)
    expect(answeredIn(recorded)).to.include.members([4, 5, 6])
    expect(recorded.of('gap').map(({ reason, fromSeq, toSeq }) => ({ reason, fromSeq, toSeq }))).to.deep.equal([{ reason: 'damage', fromSeq: 0, toSeq: first - 1 }])
    expect(recorded.verdict).to.equal('incomplete')
  })

  it('answers as if nothing were when one write fails and the next file is good', async () => {
    const disk = faultyFs()
    recorder = await recorderBefore(upstream.url, { spoolFs: disk.fs })
    for (let id = 1; id <= 10; id++) {
      disk.failWrites(1, 'EIO', id * 30)
      expect(await send(recorder.url, id)).to.not.have.property('error')
    }
    const recorded = await recorder.stop()
    expect(answeredIn(recorded)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(recorded.of('gap')).to.deep.equal([])
    expect(recorded.verdict).to.equal('consistent')
  })

  it('records whatever it forwards while it has no file descriptor left, and ships it when it has', async () => {
    const archive = join(folder, 'archive')
    const args = ['up', '--upstream', upstream.url, '--archive', archive, '--spool', join(folder, 'spool'), '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--linger', '0.05']
    const child = spawn('sh', ['-c', 'ulimit -n 64; exec "$0" "$@"', STENO, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(child, 'exit')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const idle: Socket[] = []
    try {
      const said: string[] = []
      const url = await new Promise<string>((resolve, reject) => {
        createInterface({ input: child.stderr }).on('line', line => {
          said.push(line)
          const found = /"msg":"recording".*"url":"([^"]+)"/.exec(line)?.[1]
          if (found !== undefined) resolve(found)
        })
        void ended.then(() => reject(new Error(said.join('\n'))))
      })
      const sendKept = async (id: number): Promise<Answer> => {
        const outgoing = request(url, { method: 'POST', agent, headers: { 'Content-Type': 'application/json' } })
        outgoing.end(call(id, 'echo', { text: TEXT }))
        const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
        return JSON.parse((await bodyOf(answer)).toString()) as Answer
      }
      await sendKept(1)
      for (let count = 0; count < 100; count++) {
        const socket = connect(Number(new URL(url).port), '127.0.0.1')
        socket.on('error', () => {})
        idle.push(socket)
      }
      // Each file of the log takes 8 MiB: it is changed several times.
      const answered = [1]
      for (let id = 2; id <= 250; id++) {
        const { error } = await sendKept(id)
        if (error === undefined) answered.push(id)
        else if (!error.data.forwarded) expect(asked).to.not.include(id)
      }
      expect(said.join('\n')).to.include('EMFILE')
      for (const socket of idle) socket.destroy()
      while ((await sendKept(5000)).error !== undefined);
      child.kill('SIGTERM')
      expect(await ended).to.deep.equal([0, null])
      const recorded = await readRecorded(archive)
      expect(answeredIn(recorded)).to.include.members([...answered, 5000])
      expect(recorded.of('mcp').filter(frame => frame.from === 'client').map(frame => frame.rpcId)).to.include.members(asked)
      expect(recorded.verdict).to.be.oneOf(recorded.of('gap').length === 0 ? ['consistent'] : ['incomplete'])
    } finally {
      child.kill('SIGKILL')
      agent.destroy()
      for (const socket of idle) socket.destroy()
      await ended
    }
  })
})
