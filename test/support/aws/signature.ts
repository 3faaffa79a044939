/** Checks Signature Version 4 in the Authorization header, as AWS does. */

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

export interface SignedRequest {
  readonly method: string
  /** Path and query as they came. */
  readonly url: string
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Buffer
}

export interface Keys {
  readonly secret: string
  readonly token?: string
  readonly expiresMs?: number
}

export interface SignatureProblem {
  readonly code: string
  readonly message: string
}

/** What AWS forgives between two clocks. */
const MAX_SKEW_MS = 5 * 60_000

/** @returns undefined when the signature is right */
export function signatureProblem(request: SignedRequest, keysOf: (id: string) => Keys | undefined, { nowMs, region: here }: { readonly nowMs: number; readonly region: string }): SignatureProblem | undefined {
  const header = (name: string): string => String(request.headers[name] ?? '')
  const match = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(header('authorization'))
  if (match === null) return { code: 'MissingAuthenticationTokenException', message: 'Request is missing Authentication Token' }
  const [, id = '', day = '', region = '', service = '', signed = '', signature = ''] = match
  const keys = keysOf(id)
  if (keys === undefined || (keys.token ?? '') !== header('x-amz-security-token')) return { code: 'UnrecognizedClientException', message: 'The security token included in the request is invalid.' }
  if (keys.expiresMs !== undefined && keys.expiresMs <= nowMs) return { code: 'ExpiredTokenException', message: 'The security token included in the request is expired' }
  if (region !== here) return service === 's3' ? { code: 'AuthorizationHeaderMalformed', message: `The authorization header is malformed; the region '${region}' is wrong; expecting '${here}'` } : { code: 'InvalidSignatureException', message: 'Credential should be scoped to a valid region.' }
  const date = header('x-amz-date')
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (Math.abs(at - nowMs) > MAX_SKEW_MS) return { code: 'InvalidSignatureException', message: `Signature ${at < nowMs ? 'expired' : 'not yet current'}: ${date}` }

  const url = new URL(request.url, 'http://aws.test')
  const path = service === 's3' ? url.pathname : url.pathname.split('/').map(encode).join('/')
  const query = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).sort().join('&')
  const names = signed.split(';')
  const canonicalHeaders = names.map(name => `${name}:${header(name).trim().replaceAll(/ +/g, ' ')}\n`).join('')
  const actual = createHash('sha256').update(request.body).digest('hex')
  const claimed = header('x-amz-content-sha256')
  if (service === 's3' && claimed !== 'UNSIGNED-PAYLOAD' && claimed !== actual) return { code: 'XAmzContentSHA256Mismatch', message: "The provided 'x-amz-content-sha256' header does not match what was computed." }
  const canonical = [request.method, path, query, canonicalHeaders, signed, service === 's3' ? claimed : actual].join('\n')
  const scope = `${day}/${region}/${service}/aws4_request`
  const text = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
  let key: Buffer = Buffer.from(`AWS4${keys.secret}`)
  for (const part of [day, region, service, 'aws4_request']) key = createHmac('sha256', key).update(part).digest()
  const right = createHmac('sha256', key).update(text).digest()
  return timingSafeEqual(right, Buffer.from(signature, 'hex')) ? undefined : { code: 'InvalidSignatureException', message: 'The request signature we calculated does not match the signature you provided.' }
}

/** RFC 3986, as SigV4 wants it. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}
