/**
 * Bytes of the spool's log files. A file is a header block and records; a record is magic, length, CRC-32, one frame line.
 * The magic cannot occur in UTF-8, so what follows damage is found again by one search, and no body can imitate a record.
 */

import { crc32 } from 'node:zlib'
import { StenoError } from '../../errors.ts'

export const HEADER_BYTES = 512
export const RECORD_HEAD_BYTES = 12
export const RECORD_MAGIC = Buffer.from([0xfe, 0xff, 0xf5, 0xfa])
/** Longest line: what one frame can grow to, with room. Anything longer in a log is damage. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024

const SPOOL_VERSION = 1
const FILE_MAGIC = 'STENOLOG'
const FILE_NAME = /^([0-9a-z]{1,64})-(\d{6,})\.log$/

export function logName(writer: string, file: number): string {
  return `${writer}-${String(file).padStart(6, '0')}.log`
}

export function parseLogName(name: string): { readonly writer: string; readonly file: number } | undefined {
  const match = FILE_NAME.exec(name)
  return match?.[1] === undefined ? undefined : { writer: match[1], file: Number(match[2]) }
}

/** Start value of every record's CRC of a writer: a block left by another one never validates. */
export function crcSeed(writer: string): number {
  return crc32(`steno-spool/${SPOOL_VERSION}/${writer}`)
}

export function encodeHeader(writer: string, file: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write(FILE_MAGIC, 0, 'latin1')
  header.writeUInt16LE(SPOOL_VERSION, 8)
  header.writeUInt16LE(writer.length, 10)
  header.writeUInt32LE(file, 12)
  header.write(writer, 40, 'latin1')
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4)
  return header
}

/** The writer of a log file, or why its header is no header. Throws `spool.version` for a file of a newer program. */
export function checkHeader(header: Buffer, name: string): 'valid' | 'empty' | 'damaged' {
  if (header.every(byte => byte === 0)) return 'empty'
  if (header.length < HEADER_BYTES || header.toString('latin1', 0, 8) !== FILE_MAGIC) return 'damaged'
  if (header.readUInt32LE(HEADER_BYTES - 4) !== crc32(header.subarray(0, HEADER_BYTES - 4))) return 'damaged'
  const version = header.readUInt16LE(8)
  if (version > SPOOL_VERSION) throw new StenoError('spool.version', `the spool file ${name} has format ${version}, this program knows ${SPOOL_VERSION}; start the newer version of steno that wrote it, or move the file away`)
  return 'valid'
}

/** Writes a record into `target` at `at`; there must be room for the head and three bytes a character. @returns bytes written */
export function encodeRecord(target: Buffer, at: number, line: string, seed: number): number {
  const length = target.write(line, at + RECORD_HEAD_BYTES, 'utf8')
  RECORD_MAGIC.copy(target, at)
  target.writeUInt32LE(length, at + 4)
  const crc = crc32(target.subarray(at + RECORD_HEAD_BYTES, at + RECORD_HEAD_BYTES + length), crc32(target.subarray(at + 4, at + 8), seed))
  target.writeUInt32LE(crc, at + 8)
  return RECORD_HEAD_BYTES + length
}

/** What a line's beginning says; every line of ours begins like this. */
export function peekLine(line: Buffer): { readonly seq: number; readonly kind: string; readonly session: string | undefined } | undefined {
  const match = /^\{"writer":"[0-9a-z]{1,64}","seq":(\d{1,15}),"time":"[^"]{1,40}","elapsedUs":\d+,"kind":"([a-z.]{1,32})","salt":"[0-9a-f]*"(?:,"session":"([0-9a-z]{1,64})")?/.exec(line.toString('latin1', 0, Math.min(line.length, 320)))
  return match === null ? undefined : { seq: Number(match[1]), kind: match[2] ?? '', session: match[3] }
}
