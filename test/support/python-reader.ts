/** The independent reader, `read_recording.py`, as a process that reads one recording after another. */

import { execFileSync, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface TheirReading {
  readonly verdict: string
  readonly sessions: Readonly<Record<string, number>>
  readonly writers: Readonly<Record<string, string | null>>
}

export interface PythonReader {
  /** @param path folder or file, without a line end in it */
  read(path: string): Promise<TheirReading>
  close(): void
}

export function pythonReader(): PythonReader {
  const child = spawn('python3', [new URL('read_recording.py', import.meta.url).pathname, '-'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    read: async path => {
      child.stdin.write(`${path}\n`)
      const next = await lines.next()
      if (next.done === true) throw new Error('the Python reader has ended; its error stands above')
      return JSON.parse(next.value) as TheirReading
    },
    close: () => child.stdin.end(),
  }
}

/** Missing on a person's machine is a skip; in CI it is a failure. */
export function hasPython(): boolean {
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' })
    return true
  } catch (cause) {
    if (process.env['CI'] !== undefined) throw cause
    return false
  }
}
