/**
 * Bytes gathered from many chunks into one array. Copies, so that a few bytes held back do not keep the chunk they came in;
 * grows by doubling, so that gathering stays linear.
 */
export class ByteStore {
  length = 0
  private bytes: Uint8Array = EMPTY

  append(more: Uint8Array): void {
    const length = this.length + more.length
    if (length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(length, this.bytes.length * 2, 256))
      grown.set(this.bytes.subarray(0, this.length))
      this.bytes = grown
    }
    this.bytes.set(more, this.length)
    this.length = length
  }

  /** What was gathered. The store is empty afterwards and keeps nothing of it. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(0, this.length)
    this.bytes = EMPTY
    this.length = 0
    return taken
  }
}

const EMPTY = new Uint8Array(0)
