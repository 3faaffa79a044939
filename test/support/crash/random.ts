/** Randomness that a seed repeats. */

export interface Random {
  /** From 0 to before 1. */
  next(): number
  /** A whole number from 0 to before `limit`. */
  below(limit: number): number
  /** True in `share` of cases. */
  chance(share: number): boolean
  pick<T>(choices: readonly [T, ...T[]]): T
}

/** Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed | 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return { next, below, chance: share => next() < share, pick: choices => choices[below(choices.length)] ?? choices[0] }
}
