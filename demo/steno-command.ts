/** Runs `./steno`, as a person would. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** @returns what it printed; talk on stderr goes to our own */
export async function runSteno(root: string, args: readonly string[]): Promise<{ readonly code: number; readonly stdout: string }> {
  // Its own process group: Ctrl-C is for the demonstration, which lets a short command end.
  const child = spawn(join(root, 'steno'), args, { cwd: root, detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', status => resolve(status ?? 1))
  })
  return { code, stdout }
}

export interface ListedSession {
  readonly id: string
  readonly started: string
  readonly exchanges: number
}

/** The sessions that began at or after a time, newest first. */
export async function sessionsSince(root: string, archive: string, sinceMs: number): Promise<ListedSession[]> {
  const { code, stdout } = await runSteno(root, ['list', '--archive', archive, '--since', new Date(sinceMs).toISOString(), '--limit', '1000', '-o', 'json'])
  if (code !== 0) throw new Error('./steno list failed')
  const listed: ListedSession[] = JSON.parse(stdout)
  return listed.filter(({ started }) => Date.parse(started) >= sinceMs)
}
