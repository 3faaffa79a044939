/** What the system says about the spool, as errors that say what to do. */

import { StenoError } from '../../errors.ts'
import { errorCode } from '../../platform/error-code.ts'

/** The log cannot be written: `spool.full` or `spool.io`. */
export function logError(cause: unknown): StenoError {
  if (cause instanceof StenoError) return cause
  if (isFull(cause)) return new StenoError('spool.full', 'no room is left on the volume of the spool; free space, restore the sink or enlarge the volume', { cause })
  return new StenoError('spool.io', `the spool cannot be written (${errorCode(cause) ?? 'unknown error'}); look at the volume under --spool`, { cause })
}

/** The spool cannot be opened: likewise. */
export function directoryError(cause: unknown, directory: string): StenoError {
  if (cause instanceof StenoError) return cause
  if (isFull(cause)) return new StenoError('spool.full', `no room for the spool in ${directory}; free space or choose another directory with --spool`, { cause })
  return new StenoError('spool.io', `the spool directory ${directory} cannot be used (${errorCode(cause) ?? 'unknown error'}); it must be a directory that this user may write, choose another with --spool`, { cause })
}

function isFull(cause: unknown): boolean {
  const code = errorCode(cause)
  return code === 'ENOSPC' || code === 'EDQUOT'
}
