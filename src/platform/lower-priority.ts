/** Gives a thread the lowest priority, so that what it does never takes the processor from an answer that waits. */

import { readlinkSync } from 'node:fs'
import { constants, setPriority } from 'node:os'

/** For the thread that calls it. Linux gives each its own priority; elsewhere, or without the right, nothing changes. */
export function lowerThreadPriority(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), constants.priority.PRIORITY_LOW)
  } catch {
    // Slower under load, not wrong.
  }
}
