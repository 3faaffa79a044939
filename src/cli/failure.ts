/** What a failure says on stderr, and the exit code it comes to. */

import { StenoError } from '../errors.ts'
import type { CliIo, ExitCode } from './io.ts'
import { printable } from './printable.ts'

/** One line that is clear; advice where it is ours to mend; a stack only for those who ask. */
export function reportFailure(error: unknown, io: CliIo): ExitCode {
  // Interrupted, or nobody reads on: both are what the user wanted.
  if (io.signal.aborted && (error === io.signal.reason || isNamed(error, 'AbortError'))) return 1
  if (codeOf(error) === 'EPIPE') return 0
  const debug = io.env['STENO_DEBUG'] === '1'
  if (error instanceof StenoError) {
    io.stderr.write(`error: ${printable(error.message)} (${error.code})\n`)
    if (debug) io.stderr.write(`${stackOf(error)}\n`)
    return error.code === 'usage.invalid' || error.code === 'config.invalid' ? 2 : 1
  }
  io.stderr.write(`error: ${printable(error instanceof Error ? error.message : String(error))}; this is not your fault: please report it, with what STENO_DEBUG=1 adds\n`)
  if (debug) io.stderr.write(`${stackOf(error)}\n`)
  return 1
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const stack = error.stack ?? error.message
  return error.cause === undefined ? stack : `${stack}\ncaused by ${stackOf(error.cause)}`
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}
