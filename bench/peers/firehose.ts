/**
 * Amazon Data Firehose as a clock: takes PutRecordBatch after a round trip of so many ms, and counts. Checks nothing.
 * `GET /` tells the counts; `PUT /down` and `PUT /up` make it refuse and take calls.
 */

import { createServer } from 'node:http'
import { serveBelowParent } from '../support/ready.ts'

export interface FirehoseCounts {
  calls: number
  records: number
  bytes: number
  /** As AWS bills: each record rounded up to 5 KiB. */
  billedBytes: number
  /** Of the gzip members, inflated. */
  payloadBytes: number
}

const ROUND_TRIP_MS = Number(process.argv[2] ?? 0)
const BILLED = 5 * 1024
const counts: FirehoseCounts = { calls: 0, records: 0, bytes: 0, billedBytes: 0, payloadBytes: 0 }
let down = false

function count(data: string): void {
  const record = Buffer.from(data, 'base64')
  counts.records++
  counts.bytes += record.length
  counts.billedBytes += Math.ceil(record.length / BILLED) * BILLED
  // ISIZE of the member.
  counts.payloadBytes += record.readUInt32LE(record.length - 4)
}

const server = createServer({ noDelay: true }, (req, res) => {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => {
    const answer = (status: number, body: object): void => void setTimeout(() => res.writeHead(status, { 'Content-Type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body)), ROUND_TRIP_MS)
    if (req.method === 'PUT') down = req.url === '/down'
    if (req.method !== 'POST') return answer(200, counts)
    if (down) return answer(503, { __type: 'ServiceUnavailableException', message: 'Slow down.' })
    counts.calls++
    const { Records } = JSON.parse(Buffer.concat(chunks).toString('latin1')) as { readonly Records: readonly { readonly Data: string }[] }
    for (const { Data } of Records) count(Data)
    answer(200, { FailedPutCount: 0, RequestResponses: Records.map((_, at) => ({ RecordId: `r${counts.records}-${at}` })) })
  })
})
serveBelowParent(server)
