/** HTTP heads on their way through: raw, in order, with case and duplicates; only what belongs to one hop is taken out (RFC 9110, 7.6.1). */

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'expect'])

/** Lower-case names that the Connection header of a raw head nominates. */
function nominated(raw: readonly string[]): ReadonlySet<string> {
  let names: Set<string> | undefined
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? ''
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue
    for (const token of (raw[i + 1] ?? '').split(',')) {
      const option = token.trim().toLowerCase()
      // RFC 9110 forbids to nominate fields meant for all recipients; nominating these would hide identity or framing from the upstream.
      if (option === 'close' || option === 'keep-alive' || option === 'authorization' || option === 'host' || option === 'content-length') continue
      names ??= new Set()
      names.add(option)
    }
  }
  return names ?? NONE
}
const NONE: ReadonlySet<string> = new Set()

/**
 * A copy of a raw head (name, value, …) without hop-by-hop fields. `TE: trailers` stays: an answer's trailers pass.
 * @param passes.trailers whether trailers of this message itself pass; where not, they must not be announced
 */
export function endToEnd(raw: readonly string[], passes: { readonly trailers: boolean }): string[] {
  const dropped = nominated(raw)
  const kept: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? ''
    const value = raw[i + 1] ?? ''
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || (lower !== 'te' && dropped.has(lower)) || (lower === 'te' && !/\btrailers\b/i.test(value)) || (lower === 'trailer' && !passes.trailers)) continue
    kept.push(name, value)
  }
  return kept
}

/** undici hands raw heads over as Buffers: header bytes are Latin-1. */
export function rawText(raw: unknown): string[] {
  if (!Array.isArray(raw)) return []
  return raw.map((entry: unknown) => (Buffer.isBuffer(entry) ? entry.toString('latin1') : String(entry)))
}

/** First value of a header in a raw head, by lower-case name. */
export function headerValue(raw: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const candidate = raw[i] ?? ''
    if (candidate.length === name.length && candidate.toLowerCase() === name) return (raw[i + 1] ?? '').trim()
  }
  return undefined
}
