/**
 * What must differ when the recorder has another address than the server and the client knows only the recorder's.
 * An OAuth client compares the `resource` of the protected resource metadata with the address that it uses (RFC 9728, 3.3), and stops when they differ.
 * The recorder passes the metadata as it is. So in every scenario with authorization nothing happens after the metadata:
 * checks that succeed without the recorder fail or are missing. In a cluster the recorder takes over the server's address, and nothing differs.
 */

import type { Difference } from './checks.ts'

type Revision = '2025-11-25' | '2026-07-28'

const SCENARIOS = [
  'auth/basic-cimd', 'auth/client-credentials-basic', 'auth/client-credentials-jwt', 'auth/dpop', 'auth/dpop-nonce',
  'auth/enterprise-managed-authorization', 'auth/metadata-default', 'auth/metadata-var1', 'auth/metadata-var2', 'auth/metadata-var3',
  'auth/pre-registration', 'auth/scope-from-scopes-supported', 'auth/scope-from-www-authenticate', 'auth/scope-omitted-when-undefined',
  'auth/scope-retry-limit', 'auth/scope-step-up', 'auth/token-endpoint-auth-basic', 'auth/token-endpoint-auth-none', 'auth/token-endpoint-auth-post',
]
const MODERN_SCENARIOS = [
  'auth/authorization-server-migration', 'auth/iss-normalized', 'auth/iss-not-advertised', 'auth/iss-supported', 'auth/iss-supported-missing',
  'auth/iss-unexpected', 'auth/iss-wrong-issuer', 'auth/offline-access-not-supported', 'auth/offline-access-scope',
]
/** Checks about what comes after the metadata. */
const CHECKS = [
  'authorization-request', 'authorization-server-metadata', 'cimd-client-id-used', 'client-credentials-basic-auth',
  'client-credentials-jwt-verified', 'client-registration', 'complete-flow-jwt-bearer', 'complete-flow-token-exchange', 'incoming-auth-request',
  'incoming-request', 'outgoing-auth-response', 'outgoing-response', 'pkce-code-challenge-sent', 'pkce-code-verifier-sent', 'pkce-s256-method-used',
  'pkce-verifier-matches-challenge', 'pre-registration-auth', 'prm-pathbased-requested', 'resource-parameter-consistency',
  'resource-parameter-in-authorization', 'resource-parameter-in-token', 'resource-parameter-matches-prm', 'resource-parameter-valid-uri',
  'scope-from-scopes-supported', 'scope-from-www-authenticate', 'scope-omitted-when-undefined', 'scope-retry-auth-attempt', 'scope-retry-limit',
  'scope-step-up-escalation', 'scope-step-up-initial', 'token-endpoint-auth-method', 'token-request', 'valid-bearer-token',
]
const MODERN_CHECKS = [
  'sep-2207-offline-access-not-requested', 'sep-2207-offline-access-requested', 'sep-2350-scope-union-on-reauth', 'sep-2352-reregister-on-as-change',
  'sep-2468-client-compare-iss-supported', 'sep-2468-client-compare-iss-unadvertised', 'sep-2468-client-no-normalization',
  'sep-2468-client-proceed-no-iss', 'sep-2468-client-reject-missing-iss', 'sep-837-application-type-present',
]

/**
 * @returns the differences that the lists do not explain, and the names on the lists that explain none:
 *   a list that is longer than needed would hide a difference of the recorder's own
 */
export function explain(revision: Revision, found: readonly Difference[]): { readonly unexplained: readonly Difference[]; readonly needless: readonly string[] } {
  const modern = revision === '2026-07-28'
  const scenarios = new Set([...SCENARIOS, ...(modern ? MODERN_SCENARIOS : [])])
  const checks = new Set([...CHECKS, ...(modern ? MODERN_CHECKS : [])])
  const unexplained = found.filter(each => !(scenarios.has(each.scenario) && checks.has(each.check) && isLoss(each)))
  const used = new Set(found.flatMap(({ scenario, check }) => [scenario, check]))
  return { unexplained, needless: [...scenarios, ...checks].filter(name => !used.has(name)) }
}

/** Fewer successes and messages, more failures; never the other way round. */
function isLoss({ status, direct, recorded }: Difference): boolean {
  return status === 'FAILURE' ? recorded > direct : (status === 'SUCCESS' || status === 'INFO') && recorded < direct
}
