/** Owners of a policy's pods that may be too many to be looked at in one go: whose turn it is, and what was found of each when it was last looked at. Bounded by how many there are. */

import type { Verdict } from './decide.ts'

export interface Seen {
  /** Kind and name, as it turned out. */
  readonly title: string
  /** What it was judged for. */
  readonly stamp: string
  readonly verdict: Verdict
  /** Its restart was refused; others come before it. */
  readonly refused: boolean
}

export interface Turns {
  /**
   * Forgets what is there no more, or is to be judged for something else now.
   * @param stamps of the owners that there are @returns at most `most` of them: those that are being made anew, those that may be restarted, then those that were not looked at for the longest
   */
  next(stamps: ReadonlyMap<string, string>, most: number): readonly string[]
  put(owner: string, seen: Seen): void
  get(owner: string): Seen | undefined
  /** Of all that were looked at, by title. */
  all(): readonly Seen[]
}

export function createTurns(): Turns {
  /** The one that was looked at last comes last. */
  const seen = new Map<string, Seen>()
  return {
    next: (stamps, most) => {
      for (const [owner, { stamp }] of seen) if (stamps.get(owner) !== stamp) seen.delete(owner)
      const order = new Map([...seen.keys()].map((owner, index) => [owner, index]))
      const rank = (owner: string): number => {
        const { verdict, refused = false } = seen.get(owner) ?? {}
        return verdict?.verdict === 'rolling' ? 0 : verdict?.verdict === 'restart' && !refused ? 1 : 2
      }
      return [...stamps.keys()].toSorted((a, b) => rank(a) - rank(b) || (order.get(a) ?? -1) - (order.get(b) ?? -1) || (a < b ? -1 : 1)).slice(0, most)
    },
    put: (owner, found) => {
      seen.delete(owner)
      seen.set(owner, found)
    },
    get: owner => seen.get(owner),
    all: () => [...seen.values()].toSorted((a, b) => (a.title < b.title ? -1 : 1)),
  }
}
