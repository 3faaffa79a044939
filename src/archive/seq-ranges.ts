/** Which seqs of one writer were seen, as ranges. Nearly always one range; each hole adds one. */

export interface SeqRange {
  first: number
  last: number
}

export class SeqRanges {
  readonly #ranges: SeqRange[]
  /** First seqs of ranges that changed or went, since `takeChanges`. */
  #changed = new Set<number>()
  #removed = new Set<number>()

  /** @param ranges ascending, disjoint; taken over */
  constructor(ranges: SeqRange[] = []) {
    this.#ranges = ranges
  }

  get ranges(): readonly Readonly<SeqRange>[] {
    return this.#ranges
  }

  /** @returns false when it was there already */
  add(seq: number): boolean {
    const at = this.#indexOf(seq)
    const before = this.#ranges[at]
    const after = this.#ranges[at + 1]
    if (before !== undefined && seq <= before.last) return false
    const joinsAfter = after !== undefined && after.first === seq + 1
    if (before !== undefined && before.last === seq - 1) {
      before.last = joinsAfter ? after.last : seq
      this.#changed.add(before.first)
      if (joinsAfter) this.#remove(at + 1)
    } else {
      const last = joinsAfter ? after.last : seq
      if (joinsAfter) this.#remove(at + 1)
      this.#ranges.splice(at + 1, 0, { first: seq, last })
      this.#changed.add(seq)
      this.#removed.delete(seq)
    }
    return true
  }

  takeChanges(): { readonly changed: readonly SeqRange[]; readonly removed: readonly number[] } {
    const changed = [...this.#changed].flatMap(first => {
      const range = this.#ranges[this.#indexOf(first)]
      return range === undefined ? [] : [range]
    })
    const removed = [...this.#removed]
    this.#changed = new Set()
    this.#removed = new Set()
    return { changed, removed }
  }

  #remove(at: number): void {
    const [gone] = this.#ranges.splice(at, 1)
    if (gone === undefined) return
    this.#changed.delete(gone.first)
    this.#removed.add(gone.first)
  }

  /** Index of the last range that starts at or before `seq`, or -1. */
  #indexOf(seq: number): number {
    const newest = this.#ranges.length - 1
    if (newest >= 0 && (this.#ranges[newest]?.first ?? 0) <= seq) return newest
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ranges[middle]?.first ?? 0) <= seq) low = middle + 1
      else high = middle
    }
    return low - 1
  }
}
