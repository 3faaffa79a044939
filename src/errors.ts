/**
 * The one error type of Steno and the closed union of its codes. `docs/errors.md` lists every code with what to do.
 * A message says what happened, where, and what to do next; never a value that could be a secret.
 */

export type ErrorCode =
  | 'usage.invalid'
  | 'config.invalid'
  | 'listen.failed'
  | 'upstream.loop'
  | 'spool.full'
  | 'spool.io'
  | 'spool.locked'
  | 'spool.version'
  | 'spool.closed'
  | 'sink.io'
  | 'sink.full'
  | 'sink.throttled'
  | 'sink.denied'
  | 'sink.missing'
  | 'sink.key'
  | 'sink.source'
  | 'sink.credentials'
  | 'sink.clock'
  | 'sink.late'
  | 'sink.refused'
  | 'archive.missing'
  | 'archive.io'
  | 'recording.version'
  | 'recording.invalid'
  | 'recording.not-found'
  | 'anchor.invalid'
  | 'kube.request'
  | 'aws.request'
  | 'policy.invalid'
  | 'recorder.not-ready'

/** Callers switch on `code`; there is no subclass per cause. */
export class StenoError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options)
    this.name = 'StenoError'
    this.code = code
  }
}
