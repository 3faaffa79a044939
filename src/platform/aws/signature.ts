/**
 * Signature Version 4 in the Authorization header (AWS General Reference, "Signature Version 4 signing process"). Pure but for hashing.
 * By hand, because the SDK's client costs a recorder 12 MB of memory and three times the processor for a small call.
 */

import { createHmac, hash } from 'node:crypto'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** ms since epoch. */
  readonly expiresMs?: number | undefined
}

export interface AwsRequest {
  readonly method: string
  /** Without a query. */
  readonly url: URL
  /** Names in lower case; `host` and what signing adds left out. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

export interface SigningScope {
  readonly region: string
  readonly service: string
  /** ms since epoch, by the clock of the service. */
  readonly nowMs: number
}

/** As `signedHeaders`, but remembers the last key: it holds for a day. */
export function createSigner(): (request: AwsRequest, credentials: AwsCredentials, scope: SigningScope) => Readonly<Record<string, string>> {
  let known: { readonly secret: string; readonly scope: string; readonly key: Buffer } | undefined
  return (request, credentials, scope) =>
    signedHeaders(request, credentials, scope, (secret, of) => {
      if (known?.secret !== secret || known.scope !== of) known = { secret, scope: of, key: signingKey(secret, of) }
      return known.key
    })
}

/** @returns all headers to send */
export function signedHeaders(request: AwsRequest, credentials: AwsCredentials, { region, service, nowMs }: SigningScope, keyOf = signingKey): Readonly<Record<string, string>> {
  const date = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const headers: Record<string, string> = { ...request.headers, host: request.url.host, 'x-amz-date': date }
  if (credentials.sessionToken !== undefined) headers['x-amz-security-token'] = credentials.sessionToken
  const names = Object.keys(headers).sort()
  const canonical = [request.method, request.url.pathname, '', ...names.map(name => `${name}:${headers[name]?.trim() ?? ''}`), '', names.join(';'), hash('sha256', request.body)].join('\n')
  const scope = `${date.slice(0, 8)}/${region}/${service}/aws4_request`
  const text = ['AWS4-HMAC-SHA256', date, scope, hash('sha256', canonical)].join('\n')
  const signature = hmac(keyOf(credentials.secretAccessKey, scope), text).toString('hex')
  return { ...headers, authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}` }
}

function signingKey(secret: string, scope: string): Buffer {
  return scope.split('/').reduce<Buffer>((key, part) => hmac(key, part), Buffer.from(`AWS4${secret}`))
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
