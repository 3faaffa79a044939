/** Where the deflate data of any gzip member starts (RFC 1952, section 2.3), for members that carry no index of ours. */

const FHCRC = 2
const FEXTRA = 4
const FNAME = 8
const FCOMMENT = 16
const RESERVED = 0xe0

/** @returns offset of the deflate data from `at`; 'short' when more bytes are needed; 'invalid' when it is no gzip member */
export function deflateOffset(bytes: Uint8Array, at = 0): number | 'short' | 'invalid' {
  if (bytes.length - at < 10) return 'short'
  const flags = bytes[at + 3] ?? 0
  if (bytes[at] !== 0x1f || bytes[at + 1] !== 0x8b || bytes[at + 2] !== 8 || (flags & RESERVED) !== 0) return 'invalid'
  let next = at + 10
  if ((flags & FEXTRA) !== 0) {
    if (bytes.length < next + 2) return 'short'
    next += 2 + ((bytes[next] ?? 0) | ((bytes[next + 1] ?? 0) << 8))
  }
  for (const flag of [FNAME, FCOMMENT]) {
    if ((flags & flag) === 0) continue
    const end = bytes.indexOf(0, next)
    if (end < 0) return 'short'
    next = end + 1
  }
  if ((flags & FHCRC) !== 0) next += 2
  return next <= bytes.length ? next - at : 'short'
}
