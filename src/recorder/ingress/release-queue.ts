/**
 * Bytes of an answer that wait until they are recorded. Keeps the upstream's chunks as they came;
 * a chunk is cut only where its beginning is recorded and its end is not.
 */

export interface ReleaseQueue {
  /** @param end offset in the recorded (decoded) body at which all that this chunk carries has been recorded */
  push(chunk: Buffer, end: number): void
  /** Hands out all that is recorded up to `offset`. */
  recordedTo(offset: number): void
  readonly waitingBytes: number
}

/** @param cuttable false for compressed bodies, whose offsets are not those of the chunks */
export function createReleaseQueue(release: (chunk: Buffer) => void, cuttable: boolean): ReleaseQueue {
  const waiting: { chunk: Buffer; end: number }[] = []
  let waitingBytes = 0
  return {
    push: (chunk, end) => {
      waiting.push({ chunk, end })
      waitingBytes += chunk.length
    },
    recordedTo: offset => {
      for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
        if (first.end <= offset) {
          waiting.shift()
          waitingBytes -= first.chunk.length
          release(first.chunk)
          continue
        }
        const begun = first.chunk.length - (first.end - offset)
        if (!cuttable || begun <= 0) return
        release(first.chunk.subarray(0, begun))
        first.chunk = first.chunk.subarray(begun)
        waitingBytes -= begun
        return
      }
    },
    get waitingBytes() {
      return waitingBytes
    },
  }
}
