/**
 * Credentials as pods and people have them: keys in the environment; a role for a projected token (AssumeRoleWithWebIdentity); else whatever the
 * AWS SDK finds (profiles, SSO, container and instance roles), whose code is loaded only then. Kept until shortly before they end.
 */

import { readFile } from 'node:fs/promises'
import type { AwsHttp } from './http.ts'
import type { AwsCredentials } from './signature.ts'
import { xmlElement } from './xml-element.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export interface CredentialSource {
  /** Rejects with an error whose name or code says why: of the file system, the connection or the token service. */
  get(signal: AbortSignal): Promise<AwsCredentials>
}

/** New ones are asked for this long before the old ones end. */
const EARLY_MS = 5 * 60_000
/** For what the SDK finds: a program of a profile may ask a person, or hang. */
const SDK_MS = 60_000

export interface CredentialDeps {
  readonly env: Environment
  readonly region: string
  readonly http: AwsHttp
  /** ms since epoch. */
  readonly now: () => number
}

export function createCredentialSource(deps: CredentialDeps): CredentialSource {
  let known: AwsCredentials | undefined
  let asking: Promise<AwsCredentials> | undefined

  return {
    get: async signal => {
      if (known !== undefined && (known.expiresMs === undefined || known.expiresMs - EARLY_MS > deps.now())) return known
      asking ??= ask(deps, signal).finally(() => (asking = undefined))
      try {
        return (known = await asking)
      } catch (error) {
        // What is still good bridges an outage of the token service.
        if (known?.expiresMs !== undefined && known.expiresMs > deps.now()) return known
        throw error
      }
    },
  }
}

async function ask(deps: CredentialDeps, signal: AbortSignal): Promise<AwsCredentials> {
  const env = (name: string): string | undefined => setTo(deps.env[name])
  const [accessKeyId, secretAccessKey] = [env('AWS_ACCESS_KEY_ID'), env('AWS_SECRET_ACCESS_KEY')]
  const [tokenFile, role] = [env('AWS_WEB_IDENTITY_TOKEN_FILE'), env('AWS_ROLE_ARN')]
  if (accessKeyId !== undefined && secretAccessKey !== undefined) return { accessKeyId, secretAccessKey, sessionToken: env('AWS_SESSION_TOKEN') }
  if (tokenFile !== undefined && role !== undefined && env('AWS_PROFILE') === undefined) return await assumeRole(tokenFile, role, deps, signal)
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node')
  const { expiration, ...found } = await unlessAborted(defaultProvider()(), AbortSignal.any([signal, AbortSignal.timeout(SDK_MS)]))
  return { ...found, expiresMs: expiration?.getTime() }
}

/** Rejects with the signal's reason, whatever becomes of what was waited for. */
async function unlessAborted<T>(waited: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([waited, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** A variable of the SDK that is empty is not set. */
export function setTo(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

/** The token is read anew each time, since it is rotated. */
async function assumeRole(tokenFile: string, role: string, deps: CredentialDeps, signal: AbortSignal): Promise<AwsCredentials> {
  return await assumeRoleWithWebIdentity({ role, token: (await readFile(tokenFile, 'utf8')).trim(), sessionName: setTo(deps.env['AWS_ROLE_SESSION_NAME']) ?? 'steno-recorder' }, deps, signal)
}

export interface WebIdentity {
  readonly role: string
  readonly token: string
  readonly sessionName: string
}

/** The request is not signed: the token is the proof. Rejects with an error whose name or code says why, and whose `status` is that of the answer. */
export async function assumeRoleWithWebIdentity({ role, token, sessionName }: WebIdentity, { env, region, http, now }: CredentialDeps, signal: AbortSignal): Promise<AwsCredentials> {
  const form = new URLSearchParams({ Action: 'AssumeRoleWithWebIdentity', Version: '2011-06-15', RoleArn: role, RoleSessionName: sessionName, WebIdentityToken: token })
  const url = new URL(serviceUrl('sts', region, env))
  const { status, headers, body } = await http.post(url, { 'content-type': 'application/x-www-form-urlencoded' }, Buffer.from(form.toString()), signal)
  if (status !== 200) throw Object.assign(new Error('the token service refuses'), { name: xmlElement(body, 'Code') ?? `status ${status}`, status })
  const accessKeyId = xmlElement(body, 'AccessKeyId')
  const secretAccessKey = xmlElement(body, 'SecretAccessKey')
  const expiresMs = Date.parse(xmlElement(body, 'Expiration') ?? '')
  if (accessKeyId === undefined || secretAccessKey === undefined || Number.isNaN(expiresMs)) throw Object.assign(new Error('the token service gave no credentials'), { name: 'NoCredentials' })
  // By this machine's clock: where it runs ahead, they would seem to have ended, and be asked for again with each call.
  const serviceMs = Date.parse(headers.date ?? '')
  const aheadMs = Number.isNaN(serviceMs) ? 0 : serviceMs - now()
  return { accessKeyId, secretAccessKey, sessionToken: xmlElement(body, 'SessionToken'), expiresMs: expiresMs - aheadMs }
}

/** The regional endpoint, or the one that the SDK's usual variables name. */
export function serviceUrl(service: string, region: string, env: Environment): string {
  const usual = setTo(env[`AWS_ENDPOINT_URL_${service.toUpperCase()}`]) ?? setTo(env['AWS_ENDPOINT_URL'])
  return usual ?? `https://${service}.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}/`
}
