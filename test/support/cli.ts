/** Runs the command line in this process: argv and standard input in, output and exit code out. The clock stands still. */

import { PassThrough, Readable } from 'node:stream'

import type { CliIo, ExitCode } from '../../src/cli/io.ts'
import { runCli } from '../../src/cli/program.ts'

export interface CliRun {
  readonly code: ExitCode
  readonly out: string
  readonly err: string
}

export interface CliSetting {
  readonly stdin?: Readable | string
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  readonly terminal?: boolean
  readonly now?: () => number
  /** Called with all output so far whenever there is more. */
  readonly onOutput?: (out: string) => void
  /** The same for what is said on standard error. */
  readonly onTalk?: (err: string) => void
}

/** Half an hour after the recordings of `cli-recording.ts` begin. */
export const NOW_MS = Date.parse('2026-01-02T03:34:05Z')

export async function steno(argv: readonly string[], setting: CliSetting = {}): Promise<CliRun> {
  const stdout = Object.assign(new PassThrough(), setting.terminal === true ? { isTTY: true, columns: 100, rows: 30 } : {})
  const stderr = Object.assign(new PassThrough(), setting.terminal === true ? { isTTY: true } : {})
  const output = { out: '', err: '' }
  stdout.on('data', (data: Buffer) => {
    output.out += data.toString()
    setting.onOutput?.(output.out)
  })
  stderr.on('data', (data: Buffer) => {
    output.err += data.toString()
    setting.onTalk?.(output.err)
  })
  const stdin = typeof setting.stdin === 'string' || setting.stdin === undefined ? Readable.from([setting.stdin ?? '']) : setting.stdin
  const io: CliIo = { stdin, stdout, stderr, env: setting.env ?? {}, signal: setting.signal ?? new AbortController().signal, now: setting.now ?? (() => NOW_MS) }
  const code = await runCli(argv, io)
  // What was written last reaches the listeners in a later turn.
  await new Promise(resolve => setImmediate(resolve))
  return { code, ...output }
}
