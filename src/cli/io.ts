/** What a command may touch of the process. `main.ts` passes the real one, tests their own. */

import type { Readable, Writable } from 'node:stream'

export interface CliIo {
  readonly stdin: Readable
  /** Data. */
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number }
  /** Talk. */
  readonly stderr: Writable & { readonly isTTY?: boolean }
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborted on the first SIGINT or SIGTERM. A command then ends what it does cleanly. */
  readonly signal: AbortSignal
}

/** What a command's action resolves to: 0 fine, 1 failed, nothing found, incomplete or broken, 2 wrong usage. */
export type ExitCode = 0 | 1 | 2
