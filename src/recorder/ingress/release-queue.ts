/**
 * Bytes of an answer that wait until they are recorded. Keeps the upstream's chunks as they came;
 * a chunk is cut only where its beginning is recorded and its end is not.
 */

export class ReleaseQueue {
  readonly #release: (chunk: Buffer) => void
  readonly #cuttable: boolean
  readonly #waiting: { chunk: Buffer; end: number }[] = []
  #waitingBytes = 0

  /** @param cuttable false for compressed bodies, whose offsets are not those of the chunks */
  constructor(release: (chunk: Buffer) => void, cuttable: boolean) {
    this.#release = release
    this.#cuttable = cuttable
  }

  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** @param end offset in the recorded (decoded) body at which all that this chunk carries has been recorded */
  push(chunk: Buffer, end: number): void {
    this.#waiting.push({ chunk, end })
    this.#waitingBytes += chunk.length
  }

  /** Hands out all that is recorded up to `offset`. */
  recordedTo(offset: number): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (first.end <= offset) {
        this.#waiting.shift()
        this.#waitingBytes -= first.chunk.length
        this.#release(first.chunk)
        continue
      }
      const begun = first.chunk.length - (first.end - offset)
      if (!this.#cuttable || begun <= 0) return
      this.#release(first.chunk.subarray(0, begun))
      first.chunk = first.chunk.subarray(begun)
      this.#waitingBytes -= begun
      return
    }
  }
}
