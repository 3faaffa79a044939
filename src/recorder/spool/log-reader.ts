/** Reads a log file back, in order, holding one window of it. Used by adoption and by the shipper; never writes. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { checkHeader, crcSeed, HEADER_BYTES, MAX_LINE_BYTES, RECORD_HEAD_BYTES, RECORD_MAGIC } from './log-format.ts'

export type LogItem =
  /** `line` is valid until the next call. */
  | { readonly kind: 'line'; readonly line: Buffer; readonly start: number; readonly end: number }
  /** Bytes that are no record, with valid records after them. */
  | { readonly kind: 'damage'; readonly bytes: number; readonly end: number }
  /** Nothing valid follows. `bytes` > 0: what lies there is no clean end but the rest of a write that was cut. */
  | { readonly kind: 'end'; readonly bytes: number }

const WINDOW_BYTES = 256 * 1024
const ZEROS = Buffer.alloc(WINDOW_BYTES)

export interface LogReader {
  /** @param limit offset up to which the file may be read; the item `end` is given when it is reached */
  next(limit: number): LogItem
  close(): void
}

/** @param from offset of a record, or 0 for the first */
export function openLogReader(path: string, writer: string, from: number): LogReader {
  const fd = openSync(path, 'r')
  const seed = crcSeed(writer)
  let size = 0
  let at = Math.max(from, HEADER_BYTES)
  /** Read over and over: the window lies in it. */
  let store = Buffer.alloc(0)
  let window = store
  let windowAt = at

  const header = Buffer.alloc(HEADER_BYTES)
  try {
    size = fstatSync(fd).size
    const read = readSync(fd, header, 0, HEADER_BYTES, 0)
    // A damaged header costs nothing: records carry all they need. A newer version is refused.
    checkHeader(header.subarray(0, read), path)
  } catch (error) {
    closeSync(fd)
    throw error
  }

  /** Bytes [offset, offset + length) as far as they exist below `limit`. */
  const bytes = (offset: number, length: number, limit: number): Buffer => {
    const wanted = Math.min(length, limit - offset)
    if (wanted <= 0) return Buffer.alloc(0)
    if (offset < windowAt || offset + wanted > windowAt + window.length) {
      const size = Math.min(Math.max(wanted, WINDOW_BYTES), limit - offset)
      if (store.length < size) store = Buffer.allocUnsafeSlow(size)
      let read = 0
      while (read < size) {
        const count = readSync(fd, store, read, size - read, offset + read)
        if (count === 0) break
        read += count
      }
      window = store.subarray(0, read)
      windowAt = offset
    }
    return window.subarray(offset - windowAt, Math.min(offset - windowAt + wanted, window.length))
  }
  const recordAt = (offset: number, limit: number): Buffer | undefined => {
    const head = bytes(offset, RECORD_HEAD_BYTES, limit)
    if (head.length < RECORD_HEAD_BYTES || !head.subarray(0, 4).equals(RECORD_MAGIC)) return undefined
    const length = head.readUInt32LE(4)
    const crc = head.readUInt32LE(8)
    if (length === 0 || length > MAX_LINE_BYTES || offset + RECORD_HEAD_BYTES + length > limit) return undefined
    const lengthCrc = crc32(head.subarray(4, 8), seed)
    const line = bytes(offset + RECORD_HEAD_BYTES, length, limit)
    return line.length === length && crc32(line, lengthCrc) === crc ? line : undefined
  }
  /** Offset of the next valid record after `offset`, and, when there is none, where the last byte that is not zero ends. */
  const search = (offset: number, limit: number): { readonly found: number | undefined; readonly dirtyEnd: number } => {
    let dirtyEnd = offset
    for (let position = offset; position < limit; ) {
      const piece = bytes(position, WINDOW_BYTES, limit)
      if (piece.length === 0) break
      const hit = piece.indexOf(RECORD_MAGIC)
      const until = hit < 0 ? piece.length : hit
      const used = usedBytes(piece.subarray(0, until))
      if (used > 0) dirtyEnd = position + used
      if (hit < 0) {
        // The magic may lie across the border of two pieces.
        position += piece.length <= 3 ? piece.length : piece.length - 3
        continue
      }
      if (position + hit > offset && recordAt(position + hit, limit) !== undefined) return { found: position + hit, dirtyEnd }
      dirtyEnd = position + hit + 1
      position += hit + 1
    }
    return { found: undefined, dirtyEnd }
  }

  /** The record to be read next, and how far the file may be read. */
  const nextRecord = (limit: number): { readonly line: Buffer | undefined; readonly end: number } => {
    const known = Math.min(limit, size)
    const line = recordAt(at, known)
    if (line !== undefined || known === limit) return { line, end: known }
    // The log may have been opened while it was still being made: before anything is said about its end, its size is asked again.
    size = fstatSync(fd).size
    const end = Math.min(limit, size)
    return { line: end === known ? undefined : recordAt(at, end), end }
  }

  return {
    next: limit => {
      const { line, end } = nextRecord(limit)
      if (at >= end) return { kind: 'end', bytes: 0 }
      if (line !== undefined) {
        const start = at
        at += RECORD_HEAD_BYTES + line.length
        return { kind: 'line', line, start, end: at }
      }
      const { found, dirtyEnd } = search(at, end)
      if (found === undefined) return { kind: 'end', bytes: dirtyEnd - at }
      const skipped = found - at
      at = found
      return { kind: 'damage', bytes: skipped, end: at }
    },
    close: () => closeSync(fd),
  }
}

/** Length without the zeros at the end. */
function usedBytes(piece: Buffer): number {
  // Most of what is searched is the preallocated rest of a file: one comparison tells.
  if (piece.equals(ZEROS.subarray(0, piece.length))) return 0
  let length = piece.length
  while (length > 0 && piece[length - 1] === 0) length--
  return length
}
