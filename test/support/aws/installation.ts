/** An installation that makes roles in the account of the doubles. */

import { Agent, request } from 'undici'

import { createControlPlane } from '../../../src/platform/aws/control-plane.ts'
import type { ControlPlane } from '../../../src/platform/aws/control-plane.ts'
import { systemClock } from '../../../src/platform/clock.ts'
import { settings } from '../golden-pods.ts'
import type { InjectorSettings } from '../../../src/inject/settings.ts'
import type { Json, JsonObject } from '../../../src/policy/json.ts'
import type { AwsTimes } from '../../../src/operator/aws.ts'
import type { ApiServer } from '../kube-apiserver.ts'
import { STATIC_KEYS } from './double.ts'
import { identityProvider } from './web-identity.ts'
import type { IdentityProvider } from './web-identity.ts'

export const BOUNDARY = 'arn:aws:iam::123456789012:policy/steno-boundary'
export const PROVIDER = 'arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF'
/** Of the tokens in the clusters of the tests, as EKS names it. */
export const ISSUER = 'https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF'
export const AWS_SETTINGS: JsonObject = { account: '123456789012', region: 'eu-west-1', cluster: 'prod', oidcProvider: PROVIDER, boundary: BOUNDARY }

export function settingsWithAws(changes: JsonObject = {}): InjectorSettings {
  return settings({ roleArn: undefined, aws: { ...AWS_SETTINGS, ...changes } })
}

/** As fast as a test wants it. */
export const QUICK: AwsTimes = { checkMs: 300, keepMs: 0, firstRetryMs: 50, lastRetryMs: 400, proveMs: 50, proofs: 30, settleMs: 300 }

/** The account knows the API server for an issuer of tokens. */
export async function providerOf({ cluster: { server, ca, token } }: Pick<ApiServer, 'cluster'>): Promise<IdentityProvider> {
  const agent = new Agent({ connect: { ca } })
  try {
    const { body } = await request(new URL('/openid/v1/jwks', server), { dispatcher: agent, headers: { authorization: `Bearer ${(await token()) ?? ''}` } })
    return identityProvider(PROVIDER, (await body.json()) as Json)
  } finally {
    await agent.close()
  }
}

/** @param env who asks; an admin of the account when left out */
export function planeAt(endpoint: string, env: Readonly<Record<string, string>> = { AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }): (onCall: (action: string, problem: string | undefined) => void) => ControlPlane {
  return onCall => createControlPlane({ region: 'eu-west-1', env: { AWS_ENDPOINT_URL: endpoint, ...env }, clock: systemClock, perSecond: 500, onCall })
}
