/** What DescribeDeliveryStream answers (Firehose 2015-08-04), as far as Steno depends on it. Pure. */

export interface StreamDescription {
  readonly status: string
  /** `DirectPut`, or where it reads from. */
  readonly type: string
  /** Why it could not be made or encrypted. */
  readonly failure: string | undefined
  readonly encryption: { readonly status: string | undefined; readonly keyType: string | undefined; readonly keyArn: string | undefined; readonly failure: string | undefined }
  readonly s3: S3Destination | undefined
  /** Destinations other than S3, as the API names them. */
  readonly others: readonly string[]
}

export interface S3Destination {
  readonly bucket: string
  readonly prefix: string
  readonly errorPrefix: string
  readonly compression: string
  readonly extension: string
  readonly keyArn: string | undefined
  /** Types of processors, when processing is on. */
  readonly processors: readonly string[]
  readonly conversion: boolean
  readonly partitioning: boolean
  readonly log: boolean
  readonly bufferMib: number
  readonly bufferSeconds: number
}

/** What Firehose takes where nothing is said (BufferingHints of the API reference). */
const USUAL_BUFFER = { mib: 5, seconds: 300 }

/** @returns undefined when it is no such answer */
export function readStreamDescription(answer: unknown): StreamDescription | undefined {
  const stream = at(answer, 'DeliveryStreamDescription')
  const destinations = list(at(stream, 'Destinations'))
  if (destinations.length === 0) return undefined
  const s3 = destinations.map(each => at(each, 'ExtendedS3DestinationDescription')).find(each => each !== undefined)
  const encryption = at(stream, 'DeliveryStreamEncryptionConfiguration')
  return {
    status: text(at(stream, 'DeliveryStreamStatus')) ?? 'unknown',
    type: text(at(stream, 'DeliveryStreamType')) ?? 'unknown',
    failure: text(at(at(stream, 'FailureDescription'), 'Details')),
    encryption: { status: text(at(encryption, 'Status')), keyType: text(at(encryption, 'KeyType')), keyArn: text(at(encryption, 'KeyARN')), failure: text(at(at(encryption, 'FailureDescription'), 'Details')) },
    s3: s3 === undefined ? undefined : readS3(s3),
    others: destinations.flatMap(each => (isObject(each) ? Object.keys(each) : [])).flatMap(name => /^(?!S3|ExtendedS3)(\w+)DestinationDescription$/.exec(name)?.[1] ?? []),
  }
}

function readS3(s3: unknown): S3Destination {
  const processing = at(s3, 'ProcessingConfiguration')
  const buffering = at(s3, 'BufferingHints')
  return {
    bucket: (text(at(s3, 'BucketARN')) ?? '').replace(/^arn:[^:]*:s3:::/, ''),
    prefix: text(at(s3, 'Prefix')) ?? '',
    errorPrefix: text(at(s3, 'ErrorOutputPrefix')) ?? '',
    compression: text(at(s3, 'CompressionFormat')) ?? 'UNCOMPRESSED',
    extension: text(at(s3, 'FileExtension')) ?? '',
    keyArn: text(at(at(at(s3, 'EncryptionConfiguration'), 'KMSEncryptionConfig'), 'AWSKMSKeyARN')),
    processors: at(processing, 'Enabled') === true ? list(at(processing, 'Processors')).map(each => text(at(each, 'Type')) ?? 'unknown') : [],
    // On when it is there and not switched off.
    conversion: at(s3, 'DataFormatConversionConfiguration') !== undefined && at(at(s3, 'DataFormatConversionConfiguration'), 'Enabled') !== false,
    partitioning: at(at(s3, 'DynamicPartitioningConfiguration'), 'Enabled') === true,
    log: at(at(s3, 'CloudWatchLoggingOptions'), 'Enabled') === true,
    bufferMib: number(at(buffering, 'SizeInMBs')) ?? USUAL_BUFFER.mib,
    bufferSeconds: number(at(buffering, 'IntervalInSeconds')) ?? USUAL_BUFFER.seconds,
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function at(value: unknown, name: string): unknown {
  return isObject(value) ? (value[name] ?? undefined) : undefined
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
