/**
 * Records of one writer from many places, in order. Places may overlap (retried or re-cut segments); equal keys come out side by side.
 * Holds one batch per place that is open, and opens a place only when its turn comes.
 */

export interface Ordered {
  readonly seq: number
  /** Order among records of one seq. */
  readonly rank: number
}

export interface OrderedPlace {
  readonly first: number
}

interface OpenPlace<T> {
  readonly batches: AsyncIterator<readonly T[]>
  batch: readonly T[]
  at: number
}

/** @param places by `first`, ascending; `read` gives each place's records in order, in batches */
export async function* inOrder<P extends OrderedPlace, T extends Ordered>(places: Iterable<P>, read: (place: P) => AsyncIterable<readonly T[]>): AsyncGenerator<readonly T[]> {
  const waiting = places[Symbol.iterator]()
  let next = waiting.next()
  let open: OpenPlace<T>[] = []
  try {
    for (;;) {
      open = await filled(open)
      while (next.done !== true && (open.length === 0 || next.value.first <= lowest(open))) {
        const place: OpenPlace<T> = { batches: read(next.value)[Symbol.asyncIterator](), batch: [], at: 0 }
        next = waiting.next()
        open.push(...(await filled([place])))
      }
      if (open.length === 0) return
      yield take(open, next.done === true ? Infinity : next.value.first)
    }
  } finally {
    for (const place of open) await place.batches.return?.()
    waiting.return?.()
  }
}

async function filled<T>(open: OpenPlace<T>[]): Promise<OpenPlace<T>[]> {
  const left: OpenPlace<T>[] = []
  for (const place of open) {
    let ended = false
    while (place.at >= place.batch.length && !ended) {
      const result = await place.batches.next()
      ended = result.done === true
      place.batch = result.done === true ? [] : result.value
      place.at = 0
    }
    if (!ended) left.push(place)
  }
  return left
}

function lowest<T extends Ordered>(open: readonly OpenPlace<T>[]): number {
  let seq = Infinity
  for (const place of open) seq = Math.min(seq, place.batch[place.at]?.seq ?? Infinity)
  return seq
}

/** Takes records until a batch runs dry, or a place that is not open yet might have the next one. */
function take<T extends Ordered>(open: readonly OpenPlace<T>[], limit: number): T[] {
  const only = open.length === 1 ? open[0] : undefined
  if (only !== undefined && (only.batch.at(-1)?.seq ?? Infinity) < limit) {
    const rest = only.at === 0 ? [...only.batch] : only.batch.slice(only.at)
    only.at = only.batch.length
    return rest
  }
  const taken: T[] = []
  for (;;) {
    let least: OpenPlace<T> | undefined
    let best: T | undefined
    for (const place of open) {
      const record = place.batch[place.at]
      // A dry batch must be filled before anything may be said of what is least.
      if (record === undefined) return taken
      if (best === undefined || record.seq < best.seq || (record.seq === best.seq && record.rank < best.rank)) {
        best = record
        least = place
      }
    }
    if (least === undefined || best === undefined || (best.seq >= limit && taken.length > 0)) return taken
    taken.push(best)
    least.at++
  }
}
