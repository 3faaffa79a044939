import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'

import { expect } from 'chai'

import { frameLine, writeArchive } from '../../support/build-recording.ts'
import { steno } from '../../support/cli.ts'
import type { CliRun } from '../../support/cli.ts'

const AT_MS = [0, 40, 90, 20_000, 60_000]

describe('steno play on a terminal', () => {
  let folder: string

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'steno-play-'))
    const lines = AT_MS.map((atMs, seq) =>
      frameLine('writer-p', seq, { kind: 'mcp', session: 'session-play', exchange: seq, from: 'client', type: 'notification', method: `notifications/n${seq}`, body: '{}', bytes: 2 }, atMs),
    )
    await writeArchive(folder, 'writer-p', lines)
  })

  after(() => rm(folder, { recursive: true, force: true }))

  const MARK = /notifications\/(n\d)|(---.*---)|(···.*···)/g

  async function play(argv: readonly string[], keys: (out: string, press: (key: string) => void) => void): Promise<CliRun & { shown: readonly string[]; raw: readonly boolean[] }> {
    const raw: boolean[] = []
    const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (on: boolean) => raw.push(on) })
    const result = await steno(['play', 'session-play', '--archive', folder, '--color', 'never', ...argv], { terminal: true, stdin, onOutput: out => keys(out, key => stdin.write(key)) })
    return { ...result, raw, shown: [...result.out.matchAll(MARK)].map(found => found[1] ?? found[0]) }
  }

  it('plays in its own time, cuts silence with a mark, and gives the terminal back', async () => {
    const started = performance.now()
    const { code, shown, raw } = await play(['--max-idle', '100ms', '--speed', '2'], () => {})
    expect(code).to.equal(0)
    expect(shown).to.deep.equal(['n0', 'n1', 'n2', '··· 19.8s of silence left out ···', 'n3', '··· 39.9s of silence left out ···', 'n4'])
    expect(performance.now() - started).to.be.greaterThan(140)
    expect(raw).to.deep.equal([true, false])
  })

  it('ends on q, and on Ctrl-C, which is a key in raw mode', async () => {
    for (const key of ['q', '\u0003']) {
      const { code, shown } = await play(['--max-idle', '0s'], (out, press) => out.includes('n2') && press(key))
      expect({ code, shown }).to.deep.equal({ code: 0, shown: ['n0', 'n1', 'n2'] })
    }
  })

  it('seeks exactly: the frame that it lands on is shown, those jumped over are not', async () => {
    const { shown } = await play(['--max-idle', '0s'], (out, press) => {
      if (out.includes('n0') && !out.includes('---')) press('\u001b[1;2C'.repeat(6))
      if (out.includes('n3')) press('q')
    })
    expect(shown[0]).to.equal('n0')
    expect(shown).to.include('n3')
    expect(shown).not.to.include('n4')
  })

  it('stays paused while it seeks', async () => {
    const { shown } = await play(['--max-idle', '100ms'], (out, press) => {
      if (out.includes('n2') && !out.includes('---')) press(' \u001b[D')
      if (out.includes('---')) setTimeout(() => press('q'), 300)
    })
    expect(shown.at(-1)).to.equal('n0')
  })

  it('starts at a frame or an offset', async () => {
    expect((await play(['--max-idle', '1ms', '--from', '3'], () => {})).shown[0]).to.equal('n3')
    expect((await play(['--max-idle', '1ms', '--from', '1m'], () => {})).shown).to.deep.equal(['n4'])
    expect((await play(['--from', '2m'], () => {})).code).to.equal(1)
  })
})
