/** What these credentials may, as far as that shows without writing. */

import { GetObjectCommand } from '@aws-sdk/client-s3'

import { isRecording } from '../../../archive/s3-keys.ts'
import { AwsCallError } from '../../../platform/aws/call.ts'
import { xmlElement } from '../../../platform/aws/xml-element.ts'
import { readMemberHeader } from '../../../record/member.ts'
import { sinkCode } from '../../../sink/firehose-problem.ts'
import type { Check } from '../check.ts'
import { note, ok, problem, SeeFirst } from '../check.ts'
import type { AwsSubject } from './subject.ts'

/** The header of a member with its index. */
const HEADER_BYTES = 128 * 1024
/** AWS refuses signatures that are further off. */
const MAX_SKEW_MS = 5 * 60_000
const NEAR_MS = 60_000

export const CREDENTIALS_CHECK: Check<AwsSubject> = {
  id: 'aws.credentials',
  title: 'there are valid credentials',
  run: async ({ identity }, signal) => ok(xmlElement((await identity(signal)).body, 'Arn') ?? 'valid'),
}

export const CLOCK_CHECK: Check<AwsSubject> = {
  id: 'aws.clock',
  title: "this machine's clock is right",
  run: async ({ identity, now }, signal) => {
    const { headers } = await identity(signal).catch(() => {
      throw new SeeFirst('aws.credentials')
    })
    const offMs = Math.abs(Date.parse(headers.date ?? '') - now())
    const found = `${Math.round(offMs / 1000)} s off`
    if (offMs < NEAR_MS) return ok(found)
    const why = 'AWS refuses signatures that are five minutes off. Recorders measure that and go on, but times in recordings are those of the clock'
    return offMs < MAX_SKEW_MS ? note(found, why, 'set the clock') : problem(found, why, 'set the clock')
  },
}

export const PUT_CHECK: Check<AwsSubject> = {
  id: 'rights.put',
  title: 'these credentials may put records',
  run: async ({ caller, stream }, signal) => {
    try {
      // Without records there is nothing that could be written.
      await caller.firehose('PutRecordBatch', { DeliveryStreamName: stream?.stream ?? '' }, signal)
    } catch (error) {
      if (!(error instanceof AwsCallError) || error.status === undefined) throw error
      const code = sinkCode({ name: error.name, message: error.message, status: error.status, credentials: error.credentials })
      if (code === 'sink.denied') return problem(`denied (${error.name})`, 'recorders with these credentials keep all in their spool until it is full', 'allow firehose:PutRecordBatch on the stream; a role for recorders needs nothing else')
      if (code !== 'sink.refused' && error.status < 500) throw error
    }
    return note('not denied to a call without records', 'AWS may look at the records before it looks at rights, and this command writes none', 'see steno_ship_records_total of the first recorder that has them')
  },
}

export const READ_CHECKS: readonly Check<AwsSubject>[] = [
  {
    id: 'rights.list',
    title: 'these credentials may list recordings',
    run: async (subject, signal) => {
      const { Versions: versions = [] } = await subject.firstPage(signal)
      return ok(versions.length === 0 ? 'nothing is there yet' : `${versions.length} versions on the first page`)
    },
  },
  {
    id: 'rights.read',
    title: 'these credentials may read recordings, and they are whole',
    run: async (subject, signal) => {
      const { client, bucket, prefix } = await subject.bucket(signal)
      const { Versions: versions = [] } = await subject.firstPage(signal).catch(() => {
        throw new SeeFirst('rights.list')
      })
      const recording = versions.findLast(({ Key: key = '', Size: size = 0 }) => isRecording(key.slice(prefix.length)) && size > 0)
      if (recording === undefined) return note('no recording is there yet', 'reading, decrypting and what the stream does to bytes show only with one', 'record something, wait until the stream has delivered it, and try again')
      const { Key: key, VersionId: version } = recording
      const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, ...(version === undefined || version === 'null' ? {} : { VersionId: version }), Range: `bytes=0-${HEADER_BYTES - 1}` }), { abortSignal: signal })
      const header = readMemberHeader((await answer.Body?.transformToByteArray()) ?? new Uint8Array())
      if (typeof header === 'object' || header === 'short') return ok(key ?? '')
      if (header === 'foreign') return problem(`${key ?? ''} is gzip, and no segment`, 'the stream may have compressed it again', 'see stream.compression')
      return problem(`${key ?? ''} does not begin as a segment`, 'the stream may change bytes, or something else writes below this prefix', 'see stream.processing, and who else may write')
    },
  },
]
