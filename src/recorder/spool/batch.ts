/** Lines that wait for the next write, encoded as records as they come. Two buffers that take turns: no garbage per line. */

import { crcSeed, encodeRecord, RECORD_HEAD_BYTES } from './log-format.ts'

export interface Batch {
  readonly bytes: number
  /** @returns false when it is too much for one batch */
  add(line: string): boolean
  /** As `add`, whatever the size. */
  addAnyway(line: string): void
  /** What is gathered, `bytes` long as asked before. What comes now goes into the next batch. */
  take(): Buffer
  /** A buffer that was taken may be used again. */
  giveBack(buffer: Buffer): void
  /** What was taken is still to be written, before what came meanwhile. */
  putBack(buffer: Buffer): void
  /** What is gathered, which stays. */
  peek(): Buffer
  clear(): void
}

/** What may wait for one write. A batch that failed and what came meanwhile can be twice that. */
const MAX_BYTES = 32 * 1024 * 1024
const START_BUFFER_BYTES = 64 * 1024
const KEPT_BUFFER_BYTES = 1024 * 1024

export function createBatch(writer: string): Batch {
  const seed = crcSeed(writer)
  let gathering: Buffer = Buffer.allocUnsafe(START_BUFFER_BYTES)
  let bytes = 0
  let spare: Buffer | undefined

  const addAnyway = (line: string): void => {
    // Three bytes are the most that one UTF-16 unit becomes.
    const most = RECORD_HEAD_BYTES + line.length * 3
    if (bytes + most > gathering.length) {
      const larger = Buffer.allocUnsafe(Math.max(gathering.length * 2, bytes + most))
      gathering.copy(larger, 0, 0, bytes)
      gathering = larger
    }
    bytes += encodeRecord(gathering, bytes, line, seed)
  }
  return {
    get bytes() {
      return bytes
    },
    add: line => {
      if (bytes > 0 && bytes + RECORD_HEAD_BYTES + line.length * 3 > MAX_BYTES) return false
      addAnyway(line)
      return true
    },
    addAnyway,
    take: () => {
      const taken = gathering
      gathering = spare ?? Buffer.allocUnsafe(START_BUFFER_BYTES)
      spare = undefined
      bytes = 0
      return taken
    },
    giveBack: buffer => {
      if (buffer.length <= KEPT_BUFFER_BYTES) spare = buffer
    },
    putBack: buffer => {
      gathering = Buffer.concat([buffer, gathering.subarray(0, bytes)])
      bytes = gathering.length
    },
    peek: () => gathering,
    clear: () => {
      gathering = Buffer.allocUnsafe(START_BUFFER_BYTES)
      bytes = 0
    },
  }
}
