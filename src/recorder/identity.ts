/**
 * Who calls, as far as the request says. `Observe`: the bearer token is read, never checked, and forwarded untouched.
 * Writes nothing of the token but its claims and a keyed hash.
 */

import type { Identity } from '../record/frame.ts'
import type { KeyedHash } from '../record/redact.ts'

const MAX_TOKEN_CHARS = 16_384
const MAX_CLAIM_CHARS = 512
const MAX_ENTRIES = 64

/** Claims of a bearer JWT (RFC 7519, RFC 9068), unverified; for an opaque token its hash only; undefined without a bearer token. */
export function observeIdentity(authorization: string | undefined, keyedHash: KeyedHash): Identity | undefined {
  const match = /^bearer +(\S+)\s*$/i.exec(authorization ?? '')
  const token = match?.[1]
  if (token === undefined) return undefined
  const claims = readClaims(token)
  const text = (name: string): string | undefined => {
    const value = claims[name]
    return typeof value === 'string' ? value.slice(0, MAX_CLAIM_CHARS) : undefined
  }
  const issuer = text('iss')
  const subject = text('sub')
  const clientId = text('client_id') ?? text('azp')
  const scopes = words(claims['scope'] ?? claims['scp'])
  const groups = words(claims['groups'])
  return {
    ...(issuer === undefined ? {} : { issuer }),
    ...(subject === undefined ? {} : { subject }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(scopes === undefined ? {} : { scopes }),
    ...(groups === undefined ? {} : { groups }),
    token: `hmac:${keyedHash(token)}`,
    verified: false,
  }
}

/** `issuer|subject`, the part of an identity that survives a token's refresh; empty when there is none. */
export function principalOf(identity: Identity | undefined): string {
  if (identity === undefined) return ''
  if (identity.issuer === undefined && identity.subject === undefined) return identity.token ?? ''
  return `${identity.issuer ?? ''}|${identity.subject ?? ''}`
}

function readClaims(token: string): Record<string, unknown> {
  const payload = token.length > MAX_TOKEN_CHARS ? undefined : token.split('.')[1]
  if (payload === undefined) return {}
  try {
    const parsed: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : {}
  } catch {
    // Not a JWT: an opaque token is as good a token.
    return {}
  }
}

function words(value: unknown): readonly string[] | undefined {
  const list: readonly unknown[] = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : []
  const texts = list.filter((entry): entry is string => typeof entry === 'string' && entry !== '')
  return texts.length === 0 ? undefined : texts.slice(0, MAX_ENTRIES).map(entry => entry.slice(0, MAX_CLAIM_CHARS))
}
