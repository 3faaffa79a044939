/** How a delivery stream must be set, and why: docs/aws.md, "The stream". */

import type { Check, CheckResult } from '../check.ts'
import { note, ok, problem } from '../check.ts'
import { beginsWithHour, staticPrefix } from './prefix.ts'
import type { S3Destination } from './stream-description.ts'
import type { AwsSubject } from './subject.ts'

const EXTENSION = '.jsonl.gz'
/** docs/aws.md */
const BUFFER = { seconds: 60, mib: 64 }
const LATE_S = 300

type StreamCheck = Check<AwsSubject>

/** A setting of the destination in S3. */
function setting(id: string, title: string, look: (s3: S3Destination, subject: AwsSubject) => CheckResult): StreamCheck {
  return { id, title, run: async (subject, signal) => look(await subject.s3Destination(signal), subject) }
}

export const STREAM_CHECKS: readonly StreamCheck[] = [
  {
    id: 'stream.read',
    title: 'the stream is there and active',
    run: async (subject, signal) => {
      const { status, failure } = await subject.describe(signal)
      const name = subject.stream?.stream ?? ''
      if (status === 'ACTIVE') return ok(`'${name}' is active`)
      return problem(`'${name}' is ${status}${failure === undefined ? '' : `: ${failure}`}`, 'only an active stream takes records', status === 'CREATING' ? 'wait until it is active' : 'mend what it says, or make the stream anew')
    },
  },
  {
    id: 'stream.source',
    title: 'recorders may put records',
    run: async (subject, signal) => {
      const { type } = await subject.described(signal)
      if (type === 'DirectPut') return ok('Direct PUT')
      return problem(`the source is ${type}`, 'such a stream takes no records from a producer (sink.source)', 'make a stream with the source Direct PUT')
    },
  },
  {
    id: 'stream.destination',
    title: 'it delivers to the bucket of the archive',
    run: async (subject, signal) => {
      const { s3, others } = await subject.described(signal)
      if (s3 === undefined || others.length > 0) return problem(`it delivers to ${others.join(', ') || 'a destination that is not known'}`, 'recordings are read from S3', 'make a stream with the destination Amazon S3')
      const wanted = subject.archive?.bucket
      if (wanted === undefined || wanted === s3.bucket) return ok(`bucket ${s3.bucket}`)
      return problem(`it delivers to bucket ${s3.bucket}, the archive is in ${wanted}`, 'what is recorded does not come to the archive', `give --archive s3://${s3.bucket}/…, or change the destination`)
    },
  },
  setting('stream.compression', 'Firehose does not compress', ({ compression }) => {
    if (compression === 'UNCOMPRESSED') return ok('UNCOMPRESSED')
    return problem(`CompressionFormat is ${compression}`, 'records are compressed already: compressed twice, no reader finds them', 'set CompressionFormat to UNCOMPRESSED')
  }),
  setting('stream.delimiter', 'nothing is put between records', ({ processors }) => {
    if (!processors.includes('AppendDelimiterToRecord')) return ok('no delimiter')
    return problem('AppendDelimiterToRecord is on', 'a byte between two gzip members breaks most readers, and some read only the first member without a word', 'take the processor AppendDelimiterToRecord out of ProcessingConfiguration')
  }),
  setting('stream.processing', 'records are not transformed', ({ processors }) => {
    const found = processors.filter(type => type !== 'AppendDelimiterToRecord')
    if (found.length === 0) return ok('no processors')
    return problem(`processors: ${found.join(', ')}`, 'they want JSON or plain text; gzip members come out changed, or as failed records below the error prefix', 'switch ProcessingConfiguration off')
  }),
  setting('stream.partitioning', 'no dynamic partitioning', ({ partitioning }) => {
    if (!partitioning) return ok('off')
    return problem('DynamicPartitioningConfiguration is on', 'it looks for JSON in each record and finds gzip', 'make a stream without dynamic partitioning: it cannot be switched off')
  }),
  setting('stream.conversion', 'no conversion of the format', ({ conversion }) => {
    if (!conversion) return ok('off')
    return problem('DataFormatConversionConfiguration is on', 'it turns JSON into Parquet or ORC, and fails with gzip', 'switch DataFormatConversionConfiguration off')
  }),
  setting('stream.extension', `objects end in ${EXTENSION}`, ({ extension }) => {
    if (extension === EXTENSION) return ok(EXTENSION)
    const change = `set FileExtension to ${EXTENSION}`
    if (extension === '') return problem('no FileExtension', 'Steno knows such objects by the form of their names; zcat, DuckDB and Athena do not see that they are gzip', change)
    return problem(`FileExtension is ${extension}`, 'objects are passed over when the archive is read: it looks for .jsonl.gz and .jsonl', change)
  }),
  setting('stream.prefix', 'the archive reads the folder that is written to, by hours', ({ bucket, prefix }, { archive }) => {
    const fixed = staticPrefix(prefix)
    const place = `s3://${bucket}/${fixed}`
    if (prefix !== '' && !prefix.endsWith('/')) return problem(`Prefix is '${prefix}', which is no folder`, `keys begin with ${prefix}2026/…, so a folder of that name stays empty`, `set Prefix to '${prefix}/'`)
    if (archive !== undefined && !fixed.startsWith(archive.prefix)) return problem(`Prefix is '${prefix}', the archive reads below '${archive.prefix}'`, 'what is recorded is not found there', `give --archive ${place}, or change Prefix`)
    if (!beginsWithHour(prefix)) return note(`Prefix is '${prefix}'`, 'all keys are listed each time: only those that begin with yyyy/MM/dd/HH/ can be followed by the hour', 'use a Prefix without expressions; Firehose adds the hour')
    if (archive !== undefined && fixed !== archive.prefix) return note(`Prefix is '${prefix}', the archive reads below '${archive.prefix}'`, 'all keys are listed each time: the hour is not the first part of their names there', `give --archive ${place}`)
    return ok(`${place}yyyy/MM/dd/HH/`)
  }),
  setting('stream.error-prefix', 'what fails comes to lie elsewhere', ({ prefix, errorPrefix }, { archive }) => {
    const read = archive?.prefix ?? staticPrefix(prefix)
    if (errorPrefix === '') return note('no ErrorOutputPrefix', 'records that failed would lie among recordings', "set ErrorOutputPrefix, such as 'errors/'")
    if (!errorPrefix.startsWith(read)) return ok(`'${errorPrefix}'`)
    return problem(`ErrorOutputPrefix '${errorPrefix}' lies below '${read}'`, 'records that failed are read as damaged recordings', read === '' ? "give the stream a Prefix, such as 'recordings/', and read below that" : 'choose an ErrorOutputPrefix outside of it')
  }),
  setting('stream.buffering', 'objects are large, and come soon', ({ bufferMib, bufferSeconds }) => {
    const found = `${bufferSeconds} s or ${bufferMib} MiB, whichever is first`
    const change = `set BufferingHints to IntervalInSeconds ${BUFFER.seconds} and SizeInMBs ${BUFFER.mib}`
    if (bufferSeconds < BUFFER.seconds || bufferMib < BUFFER.mib) return note(found, 'many small objects: each list, and each reading, takes longer and costs more', change)
    if (bufferSeconds > LATE_S) return note(found, `recordings can be read after ${bufferSeconds} s only, and so much of them goes with the stream if it is deleted`, change)
    return ok(found)
  }),
  {
    id: 'stream.encryption',
    title: 'what Firehose keeps is encrypted',
    run: async (subject, signal) => {
      const { keyArn: deliveryKey } = await subject.s3Destination(signal)
      const { encryption } = await subject.described(signal)
      const objects = deliveryKey === undefined ? 'objects as the bucket says' : `objects with ${deliveryKey}`
      const { status, keyType, keyArn, failure } = encryption
      if (status === 'ENABLED') return ok(`${keyArn ?? keyType ?? 'on'}; ${objects}`)
      if (status?.endsWith('_FAILED') === true) return problem(`${status}${failure === undefined ? '' : `: ${failure}`}`, 'Firehose may refuse records while its key cannot be used (sink.key)', 'enable the key, let Firehose use it, and start encryption again')
      return note(`server-side encryption is ${status ?? 'DISABLED'}; ${objects}`, 'Firehose keeps records for up to 24 hours before they are in S3', 'switch on server-side encryption of the stream')
    },
  },
  setting('stream.log', 'failed deliveries are logged', ({ log }) => {
    if (log) return ok('on')
    return note('CloudWatchLoggingOptions is off', 'what Firehose has accepted and cannot write to S3 is lost after 24 hours; the log says why it cannot', 'switch it on, and set an alarm on DeliveryToS3.DataFreshness')
  }),
]
