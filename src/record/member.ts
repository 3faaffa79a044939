/**
 * One gzip member (RFC 1952) with the FEXTRA index that lets a reader hop over it without inflating.
 * Pure: compressing, inflating and CRC-32 are the caller's.
 *
 * Subfield `ST` (0x53 0x54), little endian:
 *   u8 version = 1 · u8 flags (bit 0: any session) · u32 member length · u64 first seq · u64 last seq · u32 frames
 *   · u8 length + writer (ASCII) · u16 count · count × (u8 length + session id (ASCII))
 */

export interface MemberIndex {
  readonly writer: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly frames: number
  /** Ids of the sessions inside, or 'any' when they do not fit. */
  readonly sessions: readonly string[] | 'any'
}

export interface MemberHeader {
  readonly index: MemberIndex
  /** Bytes of the whole member, header and trailer included, as the index claims. */
  readonly memberLength: number
  /** Where the deflate data starts, from the member's first byte. */
  readonly dataOffset: number
}

/** Longest header that `readMemberHeader` may need: 12 fixed bytes and a 16-bit extra field. */
export const MAX_HEADER_BYTES = 12 + 0xffff

const FIXED_BYTES = 29
const MAX_SUBFIELD_BYTES = 0xffff - 4

/**
 * Joins a header, raw deflate blocks and the trailer to one member.
 * @param deflated raw deflate stream (RFC 1951), complete, in pieces
 * @param crc32 CRC-32 of the payload; `payloadBytes` its length
 */
export function encodeMember(parts: { index: MemberIndex; deflated: readonly Uint8Array[]; crc32: number; payloadBytes: number }): Uint8Array {
  const extra = encodeIndex(parts.index)
  const dataBytes = parts.deflated.reduce((sum, piece) => sum + piece.length, 0)
  const headerBytes = 12 + extra.length
  const member = new Uint8Array(headerBytes + dataBytes + 8)
  const view = new DataView(member.buffer)
  // ID1 ID2 CM=deflate FLG=FEXTRA MTIME=0 XFL=0 OS=255 (unknown): equal frames give equal bytes on every machine.
  member.set([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255])
  view.setUint16(10, extra.length, true)
  member.set(extra, 12)
  view.setUint32(12 + 4 + 2, member.length, true)
  let at = headerBytes
  for (const piece of parts.deflated) {
    member.set(piece, at)
    at += piece.length
  }
  view.setUint32(at, parts.crc32, true)
  view.setUint32(at + 4, parts.payloadBytes >>> 0, true)
  return member
}

function encodeIndex(index: MemberIndex): Uint8Array {
  const ascii = new TextEncoder()
  const writer = ascii.encode(index.writer)
  const ids = index.sessions === 'any' ? [] : index.sessions.map(id => ascii.encode(id))
  const idBytes = ids.reduce((sum, id) => sum + 1 + id.length, 0)
  const any = index.sessions === 'any' || FIXED_BYTES + writer.length + idBytes > MAX_SUBFIELD_BYTES
  const kept = any ? [] : ids
  const length = FIXED_BYTES + writer.length + (any ? 0 : idBytes)
  const extra = new Uint8Array(4 + length)
  const view = new DataView(extra.buffer)
  extra.set([0x53, 0x54])
  view.setUint16(2, length, true)
  view.setUint8(4, 1)
  view.setUint8(5, any ? 1 : 0)
  view.setBigUint64(10, BigInt(index.firstSeq), true)
  view.setBigUint64(18, BigInt(index.lastSeq), true)
  view.setUint32(26, index.frames, true)
  view.setUint8(30, writer.length)
  extra.set(writer, 31)
  let at = 31 + writer.length
  view.setUint16(at, kept.length, true)
  at += 2
  for (const id of kept) {
    view.setUint8(at, id.length)
    extra.set(id, at + 1)
    at += 1 + id.length
  }
  return extra
}

/**
 * Reads a member's header at `offset`. Foreign and hostile bytes give a reason, never a throw.
 * - `short`: not enough bytes for a verdict; pass up to MAX_HEADER_BYTES
 * - `foreign`: a gzip member without our index (read it by inflating)
 * - `invalid`: not a gzip member
 */
export function readMemberHeader(bytes: Uint8Array, offset = 0): MemberHeader | 'short' | 'foreign' | 'invalid' {
  if (bytes.length - offset < 10) return 'short'
  if (bytes[offset] !== 0x1f || bytes[offset + 1] !== 0x8b || bytes[offset + 2] !== 8) return 'invalid'
  const flags = bytes[offset + 3] ?? 0
  if ((flags & 0xe0) !== 0) return 'invalid'
  if (flags !== 4) return 'foreign'
  if (bytes.length - offset < 12) return 'short'
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, bytes.length - offset)
  const extraLength = view.getUint16(10, true)
  const dataOffset = 12 + extraLength
  if (view.byteLength < dataOffset) return 'short'
  for (let at = 12; at + 4 <= dataOffset; ) {
    const length = view.getUint16(at + 2, true)
    if (at + 4 + length > dataOffset) return 'foreign'
    if (view.getUint8(at) === 0x53 && view.getUint8(at + 1) === 0x54) return readIndex(view, at + 4, length, dataOffset)
    at += 4 + length
  }
  return 'foreign'
}

function readIndex(view: DataView, start: number, length: number, dataOffset: number): MemberHeader | 'foreign' {
  const end = start + length
  if (length < FIXED_BYTES || view.getUint8(start) !== 1) return 'foreign'
  const any = (view.getUint8(start + 1) & 1) === 1
  const memberLength = view.getUint32(start + 2, true)
  const firstSeq = Number(view.getBigUint64(start + 6, true))
  const lastSeq = Number(view.getBigUint64(start + 14, true))
  const frames = view.getUint32(start + 22, true)
  const text = (at: number, bytes: number): string => {
    let out = ''
    for (let i = 0; i < bytes; i++) out += String.fromCharCode(view.getUint8(at + i))
    return out
  }
  const writerLength = view.getUint8(start + 26)
  let at = start + 27 + writerLength
  if (at + 2 > end) return 'foreign'
  const writer = text(start + 27, writerLength)
  const count = view.getUint16(at, true)
  at += 2
  const sessions: string[] = []
  for (let i = 0; i < count; i++) {
    if (at >= end || at + 1 + view.getUint8(at) > end) return 'foreign'
    const idLength = view.getUint8(at)
    sessions.push(text(at + 1, idLength))
    at += 1 + idLength
  }
  if (!Number.isSafeInteger(firstSeq) || !Number.isSafeInteger(lastSeq) || memberLength < dataOffset + 8) return 'foreign'
  return { index: { writer, firstSeq, lastSeq, frames, sessions: any ? 'any' : sessions }, memberLength, dataOffset }
}
