/** The MCP server of the demonstration, a process of its own on a free port of loopback. */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export interface EverythingServer {
  readonly url: string
  /** Settles when the process has ended, wanted or not. */
  readonly ended: Promise<string>
  stop(): Promise<void>
}

const START_MS = 20_000
const STOP_MS = 2000

/** Rejects, with no process left, when the server does not come up or the signal comes first. */
export async function startEverythingServer(root: string, signal: AbortSignal): Promise<EverythingServer> {
  const script = join(root, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js')
  if (!existsSync(script)) throw new Error('the MCP server of the demonstration is not installed: run npm ci first')
  const preload = pathToFileURL(join(root, 'demo/loopback-only.ts')).href
  // Its own process group, so that Ctrl-C on the terminal reaches only the parent, which stops things in order.
  // Next to no environment: one of the server's tools tells callers all of it.
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--import', preload, script, 'streamableHttp'], {
    cwd: root,
    detached: true,
    env: { PATH: process.env['PATH'], PORT: '0' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let talk = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (talk = (talk + text).slice(-2000)))
  const ended = new Promise<string>(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('exit', (code, killed) => resolve(`it ended with ${killed ?? `exit code ${code}`}\n${talk}`.trimEnd()))
  })
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await ended
    clearTimeout(timer)
  }
  const listening = new Promise<number>(resolve => {
    child.on('message', (message: unknown) => {
      if (typeof message === 'object' && message !== null && 'listening' in message && typeof message.listening === 'number') resolve(message.listening)
    })
  })
  const timer = new AbortController()
  try {
    const port = await Promise.race([
      listening,
      ended.then(why => Promise.reject(new Error(`the MCP server did not start: ${why}`))),
      rejected(AbortSignal.any([signal, AbortSignal.timeout(START_MS)]), timer.signal),
    ])
    return { url: `http://127.0.0.1:${port}/mcp`, ended, stop }
  } catch (error) {
    await stop()
    throw error
  } finally {
    timer.abort()
  }
}

/** Rejects with the reason of `signal`; never settles once `forget` has come. */
function rejected(signal: AbortSignal, forget: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: forget })
  })
}
