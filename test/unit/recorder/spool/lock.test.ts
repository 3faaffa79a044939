import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { lockSpool } from '../../../../src/recorder/spool/lock.ts'

describe('lockSpool()', () => {
  let folder: string
  const lock = (pid = process.pid): (() => void) => lockSpool(folder, pid)
  const locked = (): void => {
    expect(() => lock()).to.throw('is in use by process').with.property('code', 'spool.locked')
  }
  /** The lock of a process that once was this pid. */
  const ownerOf = async (pid: number): Promise<Record<string, unknown>> => {
    const unlock = lock(pid)
    const owner: Record<string, unknown> = JSON.parse(await readFile(join(folder, 'lock'), 'utf8'))
    unlock()
    return owner
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lock-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  it('refuses while the owner lives, and leaves nothing behind when it is given back', async () => {
    const unlock = lock()
    locked()
    locked()
    unlock()
    expect(await readdir(folder)).to.deep.equal([])
    lock()()
  })

  it('refuses while another process lives, and takes over when it is dead', async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log("up")'], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    const owner = await ownerOf(child.pid ?? 0)
    await writeFile(join(folder, 'lock'), JSON.stringify(owner))
    locked()
    child.kill('SIGKILL')
    await once(child, 'exit')
    const unlock = lock()
    locked()
    unlock()
  })

  it('takes over when the pid now belongs to another process, or the machine was started anew', async () => {
    const owner = await ownerOf(process.pid)
    for (const change of [{ started: '1' }, { boot: 'another' }, { pid: 0 }, { pid: -1 }, { pid: 'x' }]) {
      await writeFile(join(folder, 'lock'), JSON.stringify({ ...owner, ...change }))
      lock()()
    }
  })

  for (const text of ['', 'x', 'null', '{}', '[]', '{"pid":1}']) {
    it(`takes over a lock that says ${JSON.stringify(text)}`, async () => {
      await writeFile(join(folder, 'lock'), text)
      lock()()
    })
  }

  it('removes what a process left that was killed while it took the lock, and nothing of one that lives', async () => {
    const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' })
    await once(child, 'exit')
    for (const name of [`.lock-${child.pid}`, `.lock-${child.pid}-stale`, `.lock-${process.ppid}`, '.lock-of-mine']) await writeFile(join(folder, name), '')
    lock()()
    expect(await readdir(folder)).to.have.members([`.lock-${process.ppid}`, '.lock-of-mine'])
  })

  it('gives only its own lock back', async () => {
    const unlock = lock()
    await writeFile(join(folder, 'lock'), 'taken by another')
    unlock()
    expect(await readFile(join(folder, 'lock'), 'utf8')).to.equal('taken by another')
  })

  it('lets one of many processes have a dead owner\'s lock', async () => {
    const source = `
      import { lockSpool } from ${JSON.stringify(new URL('../../../../src/recorder/spool/lock.ts', import.meta.url).href)}
      process.stdin.once('data', () => {
        try { lockSpool(${JSON.stringify(folder)}, process.pid); console.log('mine') } catch (error) { console.log(error.code) }
      })
      console.log('ready')`
    await writeFile(join(folder, 'lock'), JSON.stringify({ ...(await ownerOf(process.pid)), started: '1' }))
    const children = Array.from({ length: 4 }, () => spawn(process.execPath, ['--input-type=module', '--disable-warning=ExperimentalWarning', '-e', source], { stdio: ['pipe', 'pipe', 'inherit'] }))
    try {
      await Promise.all(children.map(child => once(child.stdout, 'data')))
      const answers = Promise.all(children.map(async child => String((await once(child.stdout, 'data'))[0]).trim()))
      for (const child of children) child.stdin.write('go\n')
      expect((await answers).toSorted()).to.deep.equal(['mine', 'spool.locked', 'spool.locked', 'spool.locked'])
    } finally {
      for (const child of children) child.kill('SIGKILL')
    }
  })
})
