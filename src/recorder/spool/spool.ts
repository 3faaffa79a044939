/**
 * The recorder's write-ahead log, as the rest of the recorder sees it. `../open-spool.ts` makes one.
 * Precedence: nothing is released before `commit` has called back without an error.
 */

import type { StenoError } from '../../errors.ts'

export type SpoolState = 'open' | 'failed' | 'closed'

export interface Spool {
  /** Id of this boot's writer. */
  readonly writer: string
  readonly state: SpoolState
  /**
   * Takes one frame line (no newline) into the current batch. False, and nothing kept, when the spool is not open:
   * the caller must not use up a seq for it.
   */
  append(line: string): boolean
  /**
   * Calls back once every line appended so far is durable (error undefined), or when that failed.
   * Group commit: one write in flight, the next batch gathers meanwhile. Lines of a failed batch are kept in memory
   * and written first after recovery, so the sequence has no hole; but their waiters have been told the error.
   */
  commit(done: (error?: StenoError) => void): void
  /**
   * Back-pressure: calls back, in the order of calls, when not too much waits for the disk; at once when that is so, and when the
   * spool is not open. What is large is appended in there, and its sender not read on before.
   */
  whenRoom(then: () => void): void
  /** Bytes on disk that are not acknowledged by the sink. */
  readonly unshippedBytes: number
  /** When the oldest frame not yet acknowledged was written, ms since epoch; undefined when all is shipped. */
  readonly oldestUnshippedMs: number | undefined
  /**
   * Writes what is left, ships everything, releases the lock.
   * @param deadlineMs how long shipping may take; what remains is left for the next writer
   * @returns bytes that could not be shipped, and whether all that was taken could be written
   */
  close(deadlineMs: number): Promise<{ readonly unshippedBytes: number; readonly written: boolean }>
}
