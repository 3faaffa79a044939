/** PutRecordBatch over HTTP (JSON 1.1): one attempt, signed, with the bytes of a call in memory once. */

import { createCredentialSource, serviceUrl } from '../platform/aws/credentials.ts'
import type { Environment } from '../platform/aws/credentials.ts'
import { failureName } from '../platform/aws/error-name.ts'
import { createAwsHttp } from '../platform/aws/http.ts'
import { parseJson, refusalOf } from '../platform/aws/refusal.ts'
import { createSigner } from '../platform/aws/signature.ts'
import type { AwsCredentials } from '../platform/aws/signature.ts'
import { FirehoseFailure } from './firehose.ts'
import type { FirehoseClient, FirehoseConfig } from './firehose.ts'
import type { RecordAnswer } from './firehose-answer.ts'
import { sinkCode } from './firehose-problem.ts'

const HEADERS = { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'Firehose_20150804.PutRecordBatch' }
/** Divides by 3, so that pieces of base64 join. */
const PIECE_BYTES = 48 * 1024

export interface FirehoseClientDeps {
  readonly env: Environment
  readonly now: () => number
}

export function createFirehoseClient({ region, endpoint }: Omit<FirehoseConfig, 'stream'>, { env, now }: FirehoseClientDeps): FirehoseClient {
  const http = createAwsHttp()
  const sign = createSigner()
  const source = createCredentialSource({ env, region, http, now })
  const url = new URL(endpoint ?? serviceUrl('firehose', region, env))
  /** How far the service's clock is ahead of this machine's. */
  let aheadMs = 0

  const credentials = async (signal: AbortSignal): Promise<AwsCredentials> => {
    try {
      return await source.get(signal)
    } catch (cause) {
      throw new FirehoseFailure({ name: failureName(cause), message: '', status: undefined, credentials: true }, { cause })
    }
  }
  return {
    putRecordBatch: async (stream, records, signal) => {
      const keys = await credentials(signal)
      const body = requestBody(stream, records)
      const headers = sign({ method: 'POST', url, headers: HEADERS, body }, keys, { region, service: 'firehose', nowMs: now() + aheadMs })
      const answer = await http.post(url, headers, body, signal).catch((cause: unknown) => {
        throw new FirehoseFailure({ name: failureName(cause), message: '', status: undefined, credentials: false }, { cause })
      })
      const answers = answer.status === 200 ? recordAnswers(answer.body) : undefined
      if (answers !== undefined) return answers
      const failure = { ...refusalOf(answer), credentials: false }
      const serviceMs = Date.parse(answer.headers.date ?? '')
      if (sinkCode(failure) === 'sink.clock' && !Number.isNaN(serviceMs)) aheadMs = serviceMs - now()
      throw new FirehoseFailure(failure)
    },
    close: () => http.close(),
  }
}

/** Base64 in pieces into one buffer: as a string and again as JSON a full record would be there four times. */
function requestBody(stream: string, records: readonly Uint8Array[]): Buffer {
  const head = `{"DeliveryStreamName":${JSON.stringify(stream)},"Records":[`
  const size = records.reduce((sum, { length }) => sum + Math.ceil(length / 3) * 4 + '{"Data":""},'.length, head.length + ']}'.length)
  const body = Buffer.allocUnsafe(size)
  let at = body.write(head, 'latin1')
  for (const [index, record] of records.entries()) {
    at += body.write(index === 0 ? '{"Data":"' : ',{"Data":"', at, 'latin1')
    for (let from = 0; from < record.length; from += PIECE_BYTES) {
      const piece = record.subarray(from, from + PIECE_BYTES)
      at += body.write(Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString('base64'), at, 'latin1')
    }
    at += body.write('"}', at, 'latin1')
  }
  at += body.write(']}', at, 'latin1')
  return body.subarray(0, at)
}

/** @returns undefined when it is no answer of the service */
function recordAnswers(body: string): readonly RecordAnswer[] | undefined {
  const parsed = parseJson(body)
  const answers: unknown = typeof parsed === 'object' && parsed !== null && 'RequestResponses' in parsed ? parsed.RequestResponses : undefined
  return Array.isArray(answers) ? answers.map(recordAnswer) : undefined
}

function recordAnswer(entry: unknown): RecordAnswer {
  const fields = new Map<string, unknown>(typeof entry === 'object' && entry !== null ? Object.entries(entry) : [])
  const text = (name: string): string | undefined => {
    const value = fields.get(name)
    return typeof value === 'string' ? value : undefined
  }
  return { RecordId: text('RecordId'), ErrorCode: text('ErrorCode'), ErrorMessage: text('ErrorMessage') }
}
