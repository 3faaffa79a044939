/** Single signed calls to services that take POST (Firehose, STS), for questions that are asked once. What is sent all the time has a client of its own. */

import { createCredentialSource, serviceUrl } from './credentials.ts'
import type { CredentialSource, Environment } from './credentials.ts'
import { failureName, isClockError } from './error-name.ts'
import { createAwsHttp } from './http.ts'
import type { AwsAnswer } from './http.ts'
import { parseJson, refusalOf } from './refusal.ts'
import { signedHeaders } from './signature.ts'
import type { AwsCredentials } from './signature.ts'

/** `name` is the code of the service, or what the connection says, such as `ECONNREFUSED`. */
export class AwsCallError extends Error {
  /** HTTP status; undefined when no answer came. */
  readonly status: number | undefined
  /** The call was not made because no credentials could be had. */
  readonly credentials: boolean

  constructor(name: string, message: string, { status, credentials = false, cause }: { readonly status?: number | undefined; readonly credentials?: boolean; readonly cause?: unknown }) {
    super(message, { cause })
    this.name = name
    this.status = status
    this.credentials = credentials
  }
}

export interface AwsCaller {
  /** Rejects with an AwsCallError whose `credentials` is set. */
  credentials(signal: AbortSignal): Promise<AwsCredentials>
  /** JSON 1.1. @returns the answer, parsed. Rejects with an AwsCallError */
  firehose(operation: string, input: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<unknown>
  /** Query protocol. @returns the answer: its body is XML. Rejects with an AwsCallError */
  sts(action: string, signal: AbortSignal): Promise<AwsAnswer>
  close(): void
}

export interface AwsCallerDeps {
  readonly region: string
  /** Of Firehose, where it is not the usual one. */
  readonly endpoint?: string | undefined
  readonly env: Environment
  /** ms since epoch. */
  readonly now: () => number
}

export function createAwsCaller({ region, endpoint, env, now }: AwsCallerDeps): AwsCaller {
  const http = createAwsHttp()
  const source: CredentialSource = createCredentialSource({ env, region, http, now })
  /** How far the services' clock is ahead of this machine's. */
  let aheadMs = 0

  const credentials = async (signal: AbortSignal): Promise<AwsCredentials> => {
    try {
      return await source.get(signal)
    } catch (cause) {
      throw new AwsCallError(failureName(cause), cause instanceof Error ? cause.message : '', { credentials: true, cause })
    }
  }
  const post = async (service: string, url: URL, headers: Readonly<Record<string, string>>, body: Buffer, signal: AbortSignal): Promise<AwsAnswer> => {
    const keys = await credentials(signal)
    for (let corrected = false; ; corrected = true) {
      const signed = signedHeaders({ method: 'POST', url, headers, body }, keys, { region, service, nowMs: now() + aheadMs })
      const answer = await http.post(url, signed, body, signal).catch((cause: unknown) => {
        throw new AwsCallError(failureName(cause), cause instanceof Error ? cause.message : '', { cause })
      })
      if (answer.status === 200) return answer
      const { name, message, status } = refusalOf(answer)
      const error = new AwsCallError(name, message, { status })
      const serviceMs = Date.parse(answer.headers.date ?? '')
      if (corrected || Number.isNaN(serviceMs) || !isClockError(error)) throw error
      aheadMs = serviceMs - now()
    }
  }
  return {
    credentials,
    firehose: async (operation, input, signal) => {
      const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': `Firehose_20150804.${operation}` }
      const { body } = await post('firehose', new URL(endpoint ?? serviceUrl('firehose', region, env)), headers, Buffer.from(JSON.stringify(input)), signal)
      return parseJson(body)
    },
    sts: async (action, signal) => {
      const form = new URLSearchParams({ Action: action, Version: '2011-06-15' })
      return await post('sts', new URL(serviceUrl('sts', region, env)), { 'content-type': 'application/x-www-form-urlencoded' }, Buffer.from(form.toString()), signal)
    },
    close: () => http.close(),
  }
}
