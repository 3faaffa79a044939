/** Which records of a PutRecordBatch were accepted. Pure: answers have the order and length of the request (API reference). */

import { StenoError } from '../errors.ts'
import { sinkProblem } from './firehose-problem.ts'
import type { Receipt } from './sink.ts'

/** One entry of `RequestResponses`. */
export interface RecordAnswer {
  readonly RecordId?: string | undefined
  readonly ErrorCode?: string | undefined
  readonly ErrorMessage?: string | undefined
}

/**
 * @param sent number of records in the request
 * @returns receipts in the order of the request. `FailedPutCount` is not asked: an entry speaks for itself, and only an id is a yes
 */
export function receiptsOf(stream: string, sent: number, answers: readonly RecordAnswer[]): readonly Receipt[] {
  if (answers.length !== sent) {
    // Which answer belongs to which record cannot be known: all are sent again.
    const error = new StenoError('sink.io', `Firehose stream '${stream}': ${sent} records were sent and ${answers.length} answered; sending all of them again`)
    return Array.from({ length: sent }, () => error)
  }
  return answers.map(({ RecordId: id, ErrorCode: code, ErrorMessage: message }) => {
    if (id !== undefined && id !== '' && code === undefined) return 'accepted'
    return sinkProblem(stream, { name: code ?? 'no record id', message: message ?? '', status: 200, credentials: false })
  })
}
