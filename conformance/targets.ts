/** The servers that the suite is run against, each a process of its own, started anew for every run: none remembers the one before. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { startEverythingServer } from '../demo/everything-server.ts'

export interface Target {
  readonly url: string
  stop(): Promise<void>
}

const ROOT = join(import.meta.dirname, '..')

export async function startTarget(name: 'fixture' | 'everything'): Promise<Target> {
  if (name === 'everything') return await startEverythingServer(ROOT, new AbortController().signal)
  const child = fork(join(import.meta.dirname, 'server/main.ts'), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: { PATH: process.env['PATH'] } })
  const ended = once(child, 'exit')
  const [message]: unknown[] = await Promise.race([once(child, 'message'), ended.then(([code]) => Promise.reject(new Error(`the fixture ended with ${String(code)} before it listened`)))])
  if (typeof message !== 'object' || message === null || !('url' in message)) throw new Error('the fixture did not tell its address')
  return {
    url: String(message.url),
    stop: async () => {
      child.disconnect()
      await ended
    },
  }
}
