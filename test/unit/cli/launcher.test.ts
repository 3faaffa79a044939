import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect } from 'chai'

import { storyLines, writeArchive } from '../../support/build-recording.ts'

const STENO = fileURLToPath(new URL('../../../steno', import.meta.url))

describe('./steno', () => {
  let folder: string

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'steno-launcher-'))
    await writeArchive(join(folder, 'recordings'), 'writer-w', storyLines('writer-w'))
  })

  after(() => rm(folder, { recursive: true, force: true }))

  async function run(command: string, argv: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
    const child = start(command, argv)
    const output = { out: '', err: '' }
    child.stdout?.on('data', (data: Buffer) => (output.out += data.toString()))
    child.stderr?.on('data', (data: Buffer) => (output.err += data.toString()))
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, ...output }
  }

  const start = (command: string, argv: readonly string[]): ChildProcess => spawn(command, argv, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })

  it('lists ./recordings without a word on stderr', async () => {
    const { code, out, err } = await run(STENO, ['list', '-o', 'name'])
    expect({ code, out, err }).to.deep.equal({ code: 0, out: 'session-one\n', err: '' })
  })

  it('is kubectl steno when it is linked as kubectl-steno', async () => {
    const link = join(folder, 'kubectl-steno')
    await symlink(STENO, join(folder, 'between'))
    await symlink('between', link)
    expect((await run(link, ['--help'])).out).to.match(/^Usage: kubectl steno /)
  })

  it('says what to do when the packages are not installed', async () => {
    const alone = join(folder, 'alone')
    await copyFile(STENO, alone)
    const { code, err } = await run(alone, ['list'])
    expect(code).to.equal(1)
    expect(err).to.contain('run npm ci first')
  })

  it('exits 2 on a wrong flag and 1 on a missing archive', async () => {
    expect((await run(STENO, ['list', '--bogus'])).code).to.equal(2)
    expect((await run(STENO, ['list', '--archive', 'missing'])).code).to.equal(1)
  })

  it('ends quietly with 0 when nobody reads on', async () => {
    const child = start(STENO, ['list', '-w'])
    let err = ''
    child.stderr?.on('data', (data: Buffer) => (err += data.toString()))
    // Closed before the first line is written.
    child.stdout?.destroy()
    const [code] = (await once(child, 'exit')) as [number | null]
    expect({ code, err }).to.deep.equal({ code: 0, err: '' })
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`ends list -w with 0 on ${signal}`, async () => {
      const child = start(STENO, ['list', '-w'])
      const exited = once(child, 'exit') as Promise<[number | null]>
      await once(child.stdout as NodeJS.ReadableStream, 'data')
      child.kill(signal)
      expect((await exited)[0]).to.equal(0)
    })
  }
})
