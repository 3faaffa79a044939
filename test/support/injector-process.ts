/** `steno inject` as a process of its own, that can be killed. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Authority } from './certificate.ts'
import { closeAtTheEnd } from './leftovers.ts'

export interface InjectorProcess {
  readonly port: number
  /** Ends it at once, as the kernel does when memory is short: nobody is told, nothing is drained. */
  kill(): Promise<void>
}

/** Resolves when it is ready. */
export async function startInjectorProcess(kubeconfig: string, authority: Authority): Promise<InjectorProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'inject-'))
  const leaf = authority.issue(['127.0.0.1'])
  for (const [name, content] of [['tls.crt', leaf.cert], ['tls.key', leaf.key], ['config.yaml', 'image: example/steno:1\nsink: {claim: recordings}\n']] as const) await writeFile(join(folder, name), content)
  const file = (name: string): string => join(folder, name)
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../src/main.ts'), 'inject', '--config', file('config.yaml'), '--certificate', file('tls.crt'), '--key', file('tls.key'), '--kubeconfig', kubeconfig, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  closeAtTheEnd(kill)
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-100_000)
      if (said.includes('ready: policies')) resolve()
    })
    void ended.then(() => reject(new Error(said)))
  })
  return { port: Number(/"port":(\d+)/.exec(said)?.[1]), kill }
}
