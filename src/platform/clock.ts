/** Time, passed in, so that tests need no waiting. */

export interface Clock {
  /** Wall clock, ms since epoch. May step. */
  readonly now: () => number
  /** Monotonic, ms with fractions. */
  readonly monotonic: () => number
}

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() }

/** How far wall and monotonic clock may drift apart before the wall clock is believed again. */
const MAX_DRIFT_MS = 5

/**
 * RFC 3339 with microseconds, UTC. The fraction comes from the monotonic clock, so that close events differ;
 * a stepped wall clock is followed at once. Takes the monotonic time of now, where it is known.
 */
export function createTimestamps(clock: Clock): (monotonicMs?: number) => string {
  let offsetMs = clock.now() - clock.monotonic()
  let secondMs = Number.NaN
  let secondText = ''
  return (monotonic = clock.monotonic()) => {
    const wall = clock.now()
    if (Math.abs(wall - (offsetMs + monotonic)) > MAX_DRIFT_MS) offsetMs = wall - monotonic
    const micros = Math.floor((offsetMs + monotonic) * 1000)
    const second = Math.floor(micros / 1_000_000)
    if (second !== secondMs) {
      secondMs = second
      secondText = new Date(second * 1000).toISOString().slice(0, 19)
    }
    return `${secondText}.${String(micros - second * 1_000_000).padStart(6, '0')}Z`
  }
}
