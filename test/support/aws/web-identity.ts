/**
 * Tokens of service accounts, as AWS's token service checks them before it looks at a role (STS API Reference, AssumeRoleWithWebIdentity; IAM User Guide,
 * OIDC identity providers): by the keys of an issuer that is registered in the account, its audiences, and the end of the token.
 */

import { createPublicKey, verify } from 'node:crypto'
import type { JsonWebKey } from 'node:crypto'

import { isObject, numberAt, objectsAt, textAt } from '../../../src/policy/json.ts'
import type { Json, JsonObject } from '../../../src/policy/json.ts'

/** As it is registered in IAM. */
export interface IdentityProvider {
  readonly arn: string
  /** Without the scheme: what conditions of trusts begin with. */
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly keys: readonly JsonObject[]
}

export interface CheckedToken {
  readonly provider: IdentityProvider
  readonly audience: string
  readonly subject: string
}

export interface TokenProblem {
  readonly code: 'InvalidIdentityToken' | 'ExpiredTokenException'
  readonly message: string
}

/** @param jwks as the API server gives it at `/openid/v1/jwks` */
export function identityProvider(arn: string, jwks: Json): IdentityProvider {
  return { arn, issuer: arn.slice(arn.indexOf(':oidc-provider/') + ':oidc-provider/'.length), audiences: ['sts.amazonaws.com'], keys: objectsAt(jwks, 'keys') }
}

export function checkToken(token: string, providers: readonly IdentityProvider[], nowMs: number): CheckedToken | TokenProblem {
  const invalid = (message: string): TokenProblem => ({ code: 'InvalidIdentityToken', message })
  const [head = '', payload = '', mark = ''] = token.split('.')
  const [header, claims] = [parsed(head), parsed(payload)]
  if (header === undefined || claims === undefined) return invalid('The ID Token provided is not a valid JWT.')
  const issuer = textAt(claims, 'iss') ?? ''
  const provider = providers.find(each => `https://${each.issuer}` === issuer)
  if (provider === undefined) return invalid(`No OpenIDConnect provider found in your account for ${issuer}`)
  const key = provider.keys.find(each => each['kid'] === header['kid'])
  if (key === undefined || !isSigned(key, textAt(header, 'alg') ?? '', `${head}.${payload}`, Buffer.from(mark, 'base64url'))) return invalid("Couldn't retrieve verification key from your identity provider, or the signature does not match")
  const endsMs = (numberAt(claims, 'exp') ?? 0) * 1000
  if (endsMs <= nowMs) return { code: 'ExpiredTokenException', message: `Token expired: current date/time must be before the expiration date/time ${new Date(endsMs).toISOString()}` }
  const audience = [claims['aud'] ?? null].flat().find((each): each is string => typeof each === 'string' && provider.audiences.includes(each))
  if (audience === undefined) return invalid('Incorrect token audience')
  return { provider, audience, subject: textAt(claims, 'sub') ?? '' }
}

/** The algorithm is the key's own: a token that names another one is no token of this key. */
function isSigned(jwk: JsonObject, algorithm: string, text: string, mark: Buffer): boolean {
  const kty = textAt(jwk, 'kty')
  if (jwk['alg'] !== undefined && jwk['alg'] !== algorithm) return false
  const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
  if (kty === 'RSA' && algorithm === 'RS256') return verify('sha256', Buffer.from(text), key, mark)
  if (kty === 'EC' && algorithm === 'ES256') return verify('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }, mark)
  return false
}

function parsed(part: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
