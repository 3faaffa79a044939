/** Cuts pieces of a payload at line ends, so that every part holds whole lines. */

const PART_BYTES = 4 * 1024 * 1024

export interface LinesPiece {
  readonly payloadOffset: number
  readonly bytes: Buffer
  readonly last: boolean
}

/**
 * A line longer than `maxLine` is dropped to its end and leaves a line that no parser takes for a frame, so that it is counted.
 */
export async function* wholeLines(pieces: AsyncIterable<Buffer>, maxLine: number): AsyncGenerator<LinesPiece> {
  let held: Buffer[] = []
  let heldBytes = 0
  let offset = 0
  let dropping = false
  for await (const piece of pieces) {
    let rest = piece
    if (dropping) {
      const end = rest.indexOf(10)
      if (end < 0) {
        offset += rest.length
        continue
      }
      offset += end + 1
      rest = rest.subarray(end + 1)
      dropping = false
    }
    held.push(rest)
    heldBytes += rest.length
    if (heldBytes < PART_BYTES) continue
    const all = Buffer.concat(held)
    const end = all.lastIndexOf(10) + 1
    if (end > 0) yield { payloadOffset: offset, bytes: all.subarray(0, end), last: false }
    offset += end
    const tail = all.subarray(end)
    if (tail.length > maxLine) {
      yield { payloadOffset: offset, bytes: Buffer.from('!\n'), last: false }
      offset += tail.length
      dropping = true
    }
    held = dropping || tail.length === 0 ? [] : [tail]
    heldBytes = dropping ? 0 : tail.length
  }
  yield { payloadOffset: offset, bytes: Buffer.concat(held), last: true }
}
