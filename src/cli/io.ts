/** What a command may touch of the process. `main.ts` passes the real one, tests their own. */

import type { Readable, Writable } from 'node:stream'

export interface CliIo {
  readonly stdin: Readable & { readonly isTTY?: boolean; readonly setRawMode?: (raw: boolean) => unknown }
  /** Data. */
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number }
  /** Talk. */
  readonly stderr: Writable & { readonly isTTY?: boolean }
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborted on the first SIGINT or SIGTERM. A command then ends what it does cleanly. */
  readonly signal: AbortSignal
  /** ms since epoch. The machine's clock when it is left out. */
  readonly now?: () => number
}

/** What a command's action resolves to: 0 fine, 1 failed, nothing found, incomplete or broken, 2 wrong usage. */
export type ExitCode = 0 | 1 | 2

export function nowMs(io: CliIo): number {
  return io.now === undefined ? Date.now() : io.now()
}

/** How the program was called, for help and advice: `steno`, or `kubectl steno` as kubectl's plugin. */
export function programName(io: CliIo): string {
  return (io.env['STENO_INVOKED_AS'] ?? '').startsWith('kubectl-') ? 'kubectl steno' : 'steno'
}

/** STENO_ARCHIVE, else `./recordings`. */
export function defaultArchive(io: CliIo): string {
  const archive = io.env['STENO_ARCHIVE']
  return archive === undefined || archive === '' ? './recordings' : archive
}
