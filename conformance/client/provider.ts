/** Who the client is towards an authorization server, and what it remembers: everything in memory, the user always agrees. */

import { ClientCredentialsProvider, CrossAppAccessProvider, PrivateKeyJwtProvider, requestJwtAuthorizationGrant } from '@modelcontextprotocol/client'
import type { OAuthClientMetadata, OAuthClientProvider, StoredOAuthClientInformation, StoredOAuthTokens } from '@modelcontextprotocol/client'

const CALLBACK = 'http://localhost:3000/callback'
const CLIENT_METADATA = 'https://conformance-test.local/client-metadata.json'

/** What the suite tells the client about itself; names are the suite's. */
export type Context = Readonly<Record<string, string | undefined>>

/** A provider that follows the redirection to the authorization server itself. */
export interface AgreeingProvider extends OAuthClientProvider {
  /** What the authorization server sent back with the user, once. */
  takeCallback(): URLSearchParams | undefined
}

/** @param known a client that is registered already */
export function createAgreeingProvider(known?: StoredOAuthClientInformation): AgreeingProvider {
  let information = known
  let tokens: StoredOAuthTokens | undefined
  let verifier = ''
  let callback: URLSearchParams | undefined
  const clientMetadata: OAuthClientMetadata = { client_name: 'steno-conformance', redirect_uris: [CALLBACK], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], token_endpoint_auth_method: 'client_secret_post' }
  return {
    redirectUrl: CALLBACK,
    clientMetadataUrl: CLIENT_METADATA,
    clientMetadata,
    clientInformation: () => information,
    saveClientInformation: saved => void (information = saved),
    tokens: () => tokens,
    saveTokens: saved => void (tokens = saved),
    saveCodeVerifier: saved => void (verifier = saved),
    codeVerifier: () => verifier,
    invalidateCredentials: scope => {
      if (scope === 'all' || scope === 'client') information = known
      if (scope === 'all' || scope === 'tokens') tokens = undefined
    },
    redirectToAuthorization: async url => {
      const { headers } = await fetch(url, { redirect: 'manual' })
      callback = new URL(headers.get('location') ?? '', url).searchParams
    },
    takeCallback: () => {
      const taken = callback
      callback = undefined
      return taken
    },
  }
}

/** Grants without a user. @returns undefined when the scenario is not of that kind */
export function machineProvider(scenario: string, context: Context): OAuthClientProvider | undefined {
  const clientId = context['client_id'] ?? ''
  const clientSecret = context['client_secret'] ?? ''
  switch (scenario) {
    case 'auth/client-credentials-jwt':
      return new PrivateKeyJwtProvider({ clientId, privateKey: context['private_key_pem'] ?? '', algorithm: context['signing_algorithm'] ?? 'ES256' })
    case 'auth/client-credentials-basic':
      return new ClientCredentialsProvider({ clientId, clientSecret })
    case 'auth/enterprise-managed-authorization':
      return new CrossAppAccessProvider({
        clientId,
        clientSecret,
        assertion: async ({ authorizationServerUrl, resourceUrl, fetchFn }) => {
          const { jwtAuthGrant } = await requestJwtAuthorizationGrant({ tokenEndpoint: context['idp_token_endpoint'] ?? '', audience: authorizationServerUrl, resource: resourceUrl, idToken: context['idp_id_token'] ?? '', clientId: context['idp_client_id'] ?? '', fetchFn })
          return jwtAuthGrant
        },
      })
    default:
      return undefined
  }
}
