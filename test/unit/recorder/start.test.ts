import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { PassThrough } from 'node:stream'

import { expect } from 'chai'

import { runUp } from '../../../src/cli/up.ts'
import type { UpOptions } from '../../../src/cli/up.ts'
import type { CliIo } from '../../../src/cli/io.ts'
import { listen } from '../../../src/platform/listen.ts'
import { call, httpUpstream, readRecorded, recorderBefore, result } from '../../support/recorder.ts'
import { faultyFs } from '../../support/spool-faulty-fs.ts'
import { openTestSpool, spoolFolder, until } from '../../support/spool-under-test.ts'
import type { SpoolFolder } from '../../support/spool-under-test.ts'

const MIB = 1024 * 1024

describe('steno up, when it starts', () => {
  let folder: SpoolFolder
  let stop: AbortController
  let said: string
  let io: CliIo

  beforeEach(async () => {
    folder = await spoolFolder()
    stop = new AbortController()
    said = ''
    const stderr = new PassThrough().on('data', (chunk: Buffer) => (said += chunk.toString()))
    io = { stdin: new PassThrough(), stdout: new PassThrough(), stderr, env: {}, signal: stop.signal }
  })
  afterEach(() => folder.remove())
  const options = (more: Partial<UpOptions> = {}): UpOptions => ({ upstream: 'http://127.0.0.1:1/mcp', archive: folder.archive, spool: folder.spool, listen: '127.0.0.1:0', admin: '127.0.0.1:0', onFailure: 'block', spoolMax: '64Mi', linger: '5', durability: 'local', ...more })

  it('ends at once and with 0 when it is asked to while it waits for room in a full spool', async () => {
    await writeFile(folder.archive, 'in the way')
    const before = await openTestSpool(folder, { maxBytes: 64 * MIB, fileBytes: MIB })
    while (before.spool.state === 'open') {
      before.add({ body: 'x'.repeat(200_000) })
      await before.commit()
    }
    await before.stop(0)
    const ended = runUp(options(), io)
    await until(() => said.includes('waiting for what earlier writers left'))
    stop.abort()
    expect(await ended).to.equal(0)
    expect(said).to.include('stopped before recording began').and.not.to.include('"msg":"recording"')
    expect((await folder.files()).filter(name => name.endsWith('.log'))).not.to.deep.equal([])
  })

  it('says in the recording why it ended when it cannot listen', async () => {
    const taken = createServer()
    const port = await listen(taken, { host: '127.0.0.1', port: 0 }, '--listen')
    const error: unknown = await runUp(options({ listen: `127.0.0.1:${port}` }), io).catch((cause: unknown) => cause)
    expect(error).to.include({ code: 'listen.failed' })
    taken.close()
    const recorded = await readRecorded(folder.archive)
    expect(recorded.frames.map(frame => frame.kind)).to.deep.equal(['writer.start', 'writer.stop'])
    expect(recorded.of('writer.stop')[0]).to.include({ reason: 'listen.failed' })
  })
})

describe('a recorder whose disk forgets', () => {
  it('declares frames that were durable and cannot be read back in a gap', async () => {
    const upstream = await httpUpstream((_req, res) => res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1)))
    const disk = faultyFs()
    const recorder = await recorderBefore(upstream.url, { spoolFs: disk.fs })
    const ask = async (): Promise<void> => void (await (await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: call(1) })).text())
    await ask()
    disk.damageWrites(1)
    await ask()
    await until(() => recorder.log().includes('could not be read back'))
    const recorded = await recorder.stop()
    expect(recorded.verdict).to.equal('incomplete')
    const seqs = new Set(recorded.frames.map(frame => frame.seq))
    const [gap, ...more] = recorded.of('gap')
    expect(more).to.deep.equal([])
    expect(gap).to.include({ reason: 'damage' })
    const missing = recorded.frames.map((_, at) => at).filter(seq => !seqs.has(seq))
    expect([gap?.fromSeq, gap?.toSeq]).to.deep.equal([missing[0], missing.at(-1)])
    await recorder.dispose()
    await upstream.close()
  })
})
