/**
 * What of an HTTP head may be written. Allow-list, not deny-list: a header nobody thought of is not recorded.
 * Headers that are secrets but tell requests apart are kept as keyed hashes.
 */

/** A keyed hash (HMAC-SHA-256, shortened) of a value that must not be written in clear. */
export type KeyedHash = (value: string) => string

const CLEAR = new Set([
  'accept', 'accept-encoding', 'accept-language', 'access-control-allow-origin', 'age', 'allow', 'cache-control', 'connection',
  'content-encoding', 'content-length', 'content-type', 'date', 'etag', 'expect', 'host', 'last-event-id', 'last-modified', 'mcp-method', 'mcp-name',
  'mcp-protocol-version', 'origin', 'range', 'retry-after', 'server', 'traceparent', 'tracestate', 'trailer', 'transfer-encoding', 'upgrade',
  'user-agent', 'vary', 'via', 'www-authenticate', 'x-accel-buffering', 'x-forwarded-for', 'x-forwarded-proto', 'x-request-id',
])

const HASHED = new Set([
  'authorization', 'cookie', 'set-cookie', 'proxy-authorization', 'mcp-session-id', 'dpop', 'x-api-key', 'x-amz-security-token', 'x-anthropic-client',
])

/**
 * @param raw name, value, name, value, … as they came
 * @returns lower-case names; a header that came twice has an array
 */
export function recordableHeaders(raw: readonly string[], keyedHash: KeyedHash): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {}
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase()
    const value = raw[i + 1] ?? ''
    const stored = CLEAR.has(name) ? value : HASHED.has(name) ? `hmac:${keyedHash(value)}` : name === 'location' || name === 'referer' ? recordableTarget(value, keyedHash) : undefined
    if (stored === undefined) continue
    const before = kept[name]
    if (before === undefined) kept[name] = stored
    else if (typeof before === 'string') kept[name] = [before, stored]
    else before.push(stored)
  }
  return kept
}

/** Query parameters that are kept as they are. Every other value is hashed: a query carries session ids, codes and tokens. */
const CLEAR_PARAMETERS = new Set(['transport', 'transporttype', 'version'])

/** A URL or a request target with what may be secret hashed: user and password, the values of query parameters, the fragment. */
export function recordableTarget(target: string, keyedHash: KeyedHash): string {
  const hash = target.indexOf('#')
  if (hash >= 0) return `${recordableTarget(target.slice(0, hash), keyedHash)}#hmac:${keyedHash(target.slice(hash + 1))}`
  const user = /^([a-z][a-z0-9+.-]{0,32}:)?\/\/([^/?#]*)@/i.exec(target)
  if (user !== null) return `${user[1] ?? ''}//hmac:${keyedHash(user[2] ?? '')}@${recordableTarget(target.slice(user[0].length), keyedHash)}`
  const mark = target.indexOf('?')
  if (mark < 0) return target
  const pairs = target.slice(mark + 1).split('&').map(pair => {
    const equals = pair.indexOf('=')
    if (pair === '' || CLEAR_PARAMETERS.has((equals < 0 ? pair : pair.slice(0, equals)).toLowerCase())) return pair
    if (equals < 0) return `hmac:${keyedHash(pair)}`
    return `${pair.slice(0, equals)}=hmac:${keyedHash(pair.slice(equals + 1))}`
  })
  return `${target.slice(0, mark)}?${pairs.join('&')}`
}
