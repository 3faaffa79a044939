/**
 * IAM, EKS and the token service as the operator uses them, through the SDK's own clients (docs/adr/0013). Each call is one attempt, waits for its turn in
 * one bucket, and is bounded in time. The SDK is loaded with the first call.
 */

import type { EKSClient } from '@aws-sdk/client-eks'
import type { IAMClient } from '@aws-sdk/client-iam'

import type { Clock } from '../clock.ts'
import { createCallLimiter } from './call-limiter.ts'
import type { CallLimiterOptions } from './call-limiter.ts'
import { assumeRoleWithWebIdentity, createCredentialSource } from './credentials.ts'
import type { CredentialSource, Environment } from './credentials.ts'
import { AwsFailure, awsProblem } from './failure.ts'
import { createAwsHttp } from './http.ts'
import { createEksCalls } from './eks.ts'
import type { EksCalls } from './eks.ts'
import { createIamCalls } from './iam.ts'
import type { IamCalls } from './iam.ts'

export interface ControlPlane {
  readonly iam: IamCalls
  readonly eks: EksCalls
  /** Whether the token gets credentials of the role, which are thrown away. Rejects with an AwsFailure. */
  assume(role: string, token: string, signal: AbortSignal): Promise<void>
  close(): void
}

export interface ControlPlaneOptions {
  /** Of the cluster. */
  readonly region: string
  /** Says who we are, and where AWS is when it is elsewhere: the SDK's own variables. */
  readonly env: Environment
  readonly clock: Clock
  readonly perSecond?: CallLimiterOptions['perSecond']
  /** Told of each call: `iam:GetRole`, and the problem that it met. */
  readonly onCall?: (action: string, problem: string | undefined) => void
}

/** Makes a call to a service. Rejects with an AwsFailure. */
export type Call<Client> = <T>(action: string, signal: AbortSignal, send: (client: Client, options: { readonly abortSignal: AbortSignal }) => Promise<T>) => Promise<T>

interface Clients {
  readonly iam: IAMClient
  readonly eks: EKSClient
}

const CONNECT_MS = 3_000
const CALL_MS = 20_000
const MAX_SOCKETS = 4
/** Codes of Node's for a connection that did not come about, or broke. */
const NETWORK = /^(?:ECONN|ETIMEDOUT|EAI_|ENOTFOUND|EHOST|ENET|EPIPE)/
const SESSION_NAME = 'steno-operator'

export function createControlPlane({ region, env, clock, perSecond, onCall }: ControlPlaneOptions): ControlPlane {
  const limiter = createCallLimiter({ clock, ...(perSecond === undefined ? {} : { perSecond }) })
  const http = createAwsHttp()
  const identity: Environment = { AWS_ROLE_SESSION_NAME: SESSION_NAME, ...env }
  const newSource = (): CredentialSource => createCredentialSource({ env: identity, region, http, now: clock.now })
  let source = newSource()
  let made: Promise<Clients> | undefined

  const make = async (): Promise<Clients> => {
    const [{ IAMClient: Iam }, { EKSClient: Eks }] = await Promise.all([import('@aws-sdk/client-iam'), import('@aws-sdk/client-eks')])
    const endpoint = (service: string): { readonly endpoint?: string } => {
      const url = env[`AWS_ENDPOINT_URL_${service}`] ?? env['AWS_ENDPOINT_URL']
      return url === undefined ? {} : { endpoint: url }
    }
    const common = {
      region,
      maxAttempts: 1,
      requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: CALL_MS, throwOnRequestTimeout: true, httpsAgent: { keepAlive: true, maxSockets: MAX_SOCKETS }, httpAgent: { keepAlive: true, maxSockets: MAX_SOCKETS } },
      credentials: async () => {
        const { accessKeyId, secretAccessKey, sessionToken, expiresMs } = await source.get(AbortSignal.timeout(CALL_MS)).catch((cause: unknown) => {
          // A token service that is away says nothing about who we are.
          const away = cause instanceof Error && 'code' in cause && NETWORK.test(String(cause.code))
          throw Object.assign(new Error('no credentials'), { name: away ? 'ServiceUnavailable' : 'CredentialsUnavailable', cause })
        })
        return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }), ...(expiresMs === undefined ? {} : { expiration: new Date(expiresMs) }) }
      },
    }
    return { iam: new Iam({ ...common, ...endpoint('IAM') }), eks: new Eks({ ...common, ...endpoint('EKS') }) }
  }
  const forget = (): void => {
    const old = made
    made = undefined
    source = newSource()
    void old?.then(each => closeAll(each))
  }
  const told = async <T>(action: string, signal: AbortSignal, send: () => Promise<T>): Promise<T> =>
    await limiter.run(signal, async () => {
      try {
        const answer = await send()
        onCall?.(action, undefined)
        return answer
      } catch (error) {
        if (signal.aborted) throw error
        const failure = failureOf(action, error)
        // A client keeps its credentials until they end by themselves; a revoked role or a new token shows only to a new one.
        if (failure.problem === 'credentials') forget()
        onCall?.(action, failure.problem)
        throw failure
      }
    })
  const through = <K extends keyof Clients>(service: K): Call<Clients[K]> => async (action, signal, send) =>
    await told(action, signal, async () => await send((await (made ??= make()))[service], { abortSignal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]) }))

  return {
    iam: createIamCalls(through('iam')),
    eks: createEksCalls(through('eks')),
    // Not signed: the token is the proof. The token service has quotas of its own, in which we are nobody.
    assume: async (role, token, signal) => {
      const action = 'sts:AssumeRoleWithWebIdentity'
      try {
        await assumeRoleWithWebIdentity({ role, token, sessionName: SESSION_NAME }, { env, region, http, now: clock.now }, signal)
        onCall?.(action, undefined)
      } catch (error) {
        if (signal.aborted) throw error
        const failure = failureOf(action, error)
        onCall?.(action, failure.problem)
        throw failure
      }
    },
    close: () => {
      void made?.then(closeAll)
      http.close()
    },
  }
}

function closeAll({ iam, eks }: Clients): void {
  iam.destroy()
  eks.destroy()
}

interface SdkError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly status?: number
}

/** The words of AWS name roles and policies, never keys or tokens. */
function failureOf(action: string, error: unknown): AwsFailure {
  if (!(error instanceof Error)) return new AwsFailure('unreachable', action, 'unknown error', `${action}: unknown error`)
  const known: SdkError = error
  const status = known.$metadata?.httpStatusCode ?? known.status
  const reason = known.name === 'Error' && 'code' in error && typeof error.code === 'string' ? error.code : known.name
  const { cause } = error
  const why = cause instanceof Error ? `${error.message}: ${cause.name === 'Error' ? cause.message : cause.name}` : error.message
  return new AwsFailure(awsProblem(reason, status), action, reason, `${action}: ${reason}${why === '' || why === reason ? '' : `: ${why.slice(0, 500)}`}`, { cause: error })
}
