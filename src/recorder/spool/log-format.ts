/**
 * Bytes of the spool's log files. A file is a header block and records; a record is magic, length, CRC-32, one frame line.
 * The magic cannot occur in UTF-8, so what follows damage is found again by one search, and no body can imitate a record.
 */

import { crc32 } from 'node:zlib'
import { StenoError } from '../../errors.ts'
import { MAX_HEAD_LENGTH, readHead } from '../../record/parse-line.ts'
import type { LineHead } from '../../record/parse-line.ts'

export const HEADER_BYTES = 512
export const RECORD_HEAD_BYTES = 12
export const RECORD_MAGIC = Buffer.from([0xfe, 0xff, 0xf5, 0xfa])
/** Longest line that is taken: one that does not compress at all must still fit a segment. Frames are cut smaller (body parts of 128 Ki characters). */
export const MAX_FRAME_BYTES = 900 * 1024
/** Anything longer in a log is damage. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024

const SPOOL_VERSION = 1
const FILE_MAGIC = 'STENOLOG'
const WRITER_ID = '[0-9a-hjkmnp-tv-z]{26}'
const FILE_NAME = new RegExp(`^(${WRITER_ID})-(\\d{6,15})\\.log$`)
const POSITION_NAME = new RegExp(`^(${WRITER_ID})\\.shipped$`)

export function logName(writer: string, file: number): string {
  return `${writer}-${String(file).padStart(6, '0')}.log`
}

/** Strict, so that a file of somebody else is never read as ours, shipped and removed. */
export function parseLogName(name: string): { readonly writer: string; readonly file: number } | undefined {
  const match = FILE_NAME.exec(name)
  if (match?.[1] === undefined) return undefined
  const log = { writer: match[1], file: Number(match[2]) }
  return logName(log.writer, log.file) === name ? log : undefined
}

/** Name of the file that holds how far a writer is shipped. */
export function positionName(writer: string): string {
  return `${writer}.shipped`
}

/** The writer of such a name. */
export function parsePositionName(name: string): string | undefined {
  return POSITION_NAME.exec(name)?.[1]
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

/** Whether a log file's header is one. Throws `spool.version` for a file of a newer program. */
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
export function peekLine(line: Buffer): LineHead | undefined {
  // Ours are far shorter than what the format allows.
  return readHead(line.toString('latin1', 0, USUAL_HEAD_LENGTH)) ?? (line.length > USUAL_HEAD_LENGTH ? readHead(line.toString('latin1', 0, MAX_HEAD_LENGTH)) : undefined)
}

const USUAL_HEAD_LENGTH = 320
