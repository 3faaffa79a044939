/** The AWS SDK's client as the sink needs it: no retries of its own, bounded in time and sockets. Credentials come from the SDK's usual places. */

import { FirehoseClient as AwsFirehoseClient, PutRecordBatchCommand } from '@aws-sdk/client-firehose'
import { FirehoseFailure } from './firehose.ts'
import type { FirehoseClient, FirehoseConfig } from './firehose.ts'

const CONNECT_MS = 3_000
/** For credentials, and again for the call. A record that is not accepted by then is sent again. */
const CALL_MS = 20_000
const MAX_SOCKETS = 4

export function createFirehoseClient({ region, endpoint }: Omit<FirehoseConfig, 'stream'>): FirehoseClient {
  const aws = new AwsFirehoseClient({
    // Every attempt is ours to count.
    maxAttempts: 1,
    requestHandler: { connectionTimeout: CONNECT_MS, httpAgent: { keepAlive: true, maxSockets: MAX_SOCKETS }, httpsAgent: { keepAlive: true, maxSockets: MAX_SOCKETS } },
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
  })
  /** @param asked whether the call itself was made, or only credentials were asked for */
  const within = async <T>(promise: Promise<T>, signal: AbortSignal, asked: boolean): Promise<T> => {
    const { promise: over, reject } = Promise.withResolvers<never>()
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      return await Promise.race([promise, over])
    } catch (cause) {
      throw new FirehoseFailure(failureOf(cause, !asked), { cause })
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
  return {
    putRecordBatch: async (stream, records, signal) => {
      // Apart, because the token service denies with the same names as the stream.
      await within(aws.config.credentials(), limited(signal), false)
      const call = limited(signal)
      const command = new PutRecordBatchCommand({ DeliveryStreamName: stream, Records: records.map(Data => ({ Data })) })
      const answer = await within(aws.send(command, { abortSignal: call }), call, true)
      return answer.RequestResponses
    },
    close: () => aws.destroy(),
  }
}

function limited(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)])
}

function failureOf(cause: unknown, credentials: boolean): FirehoseFailure['failure'] {
  const error: { readonly name?: unknown; readonly message?: unknown; readonly code?: unknown; readonly $metadata?: unknown } = typeof cause === 'object' && cause !== null ? cause : {}
  const { name, message, code, $metadata: metadata } = error
  const status = typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata && typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined
  return {
    // Errors of the connection are all named `Error`; their code tells.
    name: typeof code === 'string' ? code : typeof name === 'string' ? name : 'unknown error',
    message: typeof message === 'string' ? message : '',
    status,
    credentials,
  }
}
