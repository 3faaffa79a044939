/** The token service of the doubles: hands out credentials of a role for a token that the role trusts, and knows afterwards whose they are. */

import { objectAt, objectsAt } from '../../../src/policy/json.ts'
import type { JsonObject } from '../../../src/policy/json.ts'
import { isAllowed } from './policy-rules.ts'
import type { Keys } from './signature.ts'
import { checkToken } from './web-identity.ts'
import type { CheckedToken, IdentityProvider } from './web-identity.ts'

export interface AssumableRole {
  readonly trust: JsonObject
  /** What it may do is in all of these: its policies together, and its boundary where it has one. */
  readonly limits: readonly (readonly JsonObject[])[]
  /** Not all of AWS knows of it yet; asked once for each attempt. */
  readonly isLate?: () => boolean
}

export interface IssuedKeys extends Keys {
  /** ARN. */
  readonly role: string
}

export type TokenAnswer =
  /** What stands in AssumeRoleWithWebIdentityResult. */
  | { readonly result: string }
  | { readonly status: number; readonly code: string; readonly message: string }

export interface TokenService {
  /** AssumeRoleWithWebIdentity. */
  assume(form: URLSearchParams): TokenAnswer
  keysOf(id: string): IssuedKeys | undefined
  /** By what the role is now; one that is gone may nothing. */
  may(role: string, action: string, resource: string): boolean
  /** Lets all credentials that were handed out end. */
  revoke(): void
}

export interface TokenServiceOptions {
  readonly providers: readonly IdentityProvider[]
  readonly roleOf: (arn: string) => AssumableRole | undefined
  readonly nowMs: () => number
}

const SESSION_MS = 3_600_000
const ACTION = 'sts:AssumeRoleWithWebIdentity'

export function createTokenService({ providers, roleOf, nowMs }: TokenServiceOptions): TokenService {
  const issued = new Map<string, IssuedKeys>()
  return {
    assume: form => {
      const arn = form.get('RoleArn') ?? ''
      const checked = checkToken(form.get('WebIdentityToken') ?? '', providers, nowMs())
      if ('code' in checked) return { status: 400, ...checked }
      const role = roleOf(arn)
      if (role === undefined || !trusts(role.trust, arn, checked) || role.isLate?.() === true) return { status: 403, code: 'AccessDenied', message: `Not authorized to perform ${ACTION}` }
      const id = `ASIA${issued.size}X${Date.now()}`
      const keys = { secret: `secret of ${id}`, token: `token of ${id}`, expiresMs: Date.now() + SESSION_MS, role: arn }
      issued.set(id, keys)
      return { result: `<Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${keys.secret}</SecretAccessKey><SessionToken>${keys.token}</SessionToken><Expiration>${new Date(keys.expiresMs).toISOString()}</Expiration></Credentials>` }
    },
    keysOf: id => issued.get(id),
    may: (arn, action, resource) => roleOf(arn)?.limits.every(documents => isAllowed(documents, { action, resource, context: {} })) ?? false,
    revoke: () => issued.clear(),
  }
}

/** A statement that names another provider says nothing about this token. */
function trusts(trust: JsonObject, role: string, { provider, audience, subject }: CheckedToken): boolean {
  const statements = [trust['Statement'] ?? []].flat()
  const about = objectsAt({ Statement: statements }, 'Statement').filter(each => objectAt(each, 'Principal')['Federated'] === provider.arn)
  const issuer = provider.issuer.toLowerCase()
  return isAllowed([{ Statement: [...about] }], { action: ACTION, resource: role, context: { [`${issuer}:aud`]: audience, [`${issuer}:sub`]: subject } })
}
