/** A stream and a bucket as the checks ask for them: what several need is asked for once. Nothing here writes. */

import { HeadBucketCommand, ListObjectVersionsCommand, S3Client } from '@aws-sdk/client-s3'
import type { ListObjectVersionsCommandOutput } from '@aws-sdk/client-s3'

import type { S3Place } from '../../../archive/s3.ts'
import { createAwsCaller } from '../../../platform/aws/call.ts'
import type { AwsCaller } from '../../../platform/aws/call.ts'
import type { Environment } from '../../../platform/aws/credentials.ts'
import type { AwsAnswer } from '../../../platform/aws/http.ts'
import type { FirehoseConfig } from '../../../sink/firehose.ts'
import { SeeFirst } from '../check.ts'
import { once } from '../once.ts'
import { staticPrefix } from './prefix.ts'
import { readStreamDescription } from './stream-description.ts'
import type { S3Destination, StreamDescription } from './stream-description.ts'

export interface AwsSubject {
  readonly caller: AwsCaller
  /** ms since epoch, of this machine. */
  readonly now: () => number
  /** Undefined when only an archive is asked about. */
  readonly stream: FirehoseConfig | undefined
  /** The archive, when it is given; else it follows from the stream. */
  readonly archive: S3Place | undefined
  /** Of the credentials. Rejects with an AwsCallError. */
  identity(signal: AbortSignal): Promise<AwsAnswer>
  /** Rejects with an AwsCallError. */
  describe(signal: AbortSignal): Promise<StreamDescription>
  /** The same for whom `stream.read` tells of an error. Rejects with SeeFirst. */
  described(signal: AbortSignal): Promise<StreamDescription>
  /** Of the stream. Rejects with SeeFirst. */
  s3Destination(signal: AbortSignal): Promise<S3Destination>
  /** Rejects with an error of the SDK, with an AwsCallError or with SeeFirst. */
  head(signal: AbortSignal): Promise<string | undefined>
  /** Once the bucket is known to be there. Rejects with SeeFirst. */
  bucket(signal: AbortSignal): Promise<BucketView>
  /** The first page of versions below the prefix. */
  firstPage(signal: AbortSignal): Promise<ListObjectVersionsCommandOutput>
  close(): void
}

export interface BucketView {
  readonly client: S3Client
  readonly bucket: string
  readonly prefix: string
}

export interface AwsSubjectOptions {
  readonly stream: FirehoseConfig | undefined
  readonly archive: S3Place | undefined
  readonly region: string
  /** Another store than S3 of AWS. */
  readonly s3Endpoint: string | undefined
  readonly env: Environment
  readonly now: () => number
}

export function createAwsSubject({ stream, archive, region, s3Endpoint, env, now }: AwsSubjectOptions): AwsSubject {
  const caller = createAwsCaller({ region, endpoint: stream?.endpoint, env, now })
  const clients: S3Client[] = []

  const describe = once(async (signal): Promise<StreamDescription> => {
    const description = readStreamDescription(await caller.firehose('DescribeDeliveryStream', { DeliveryStreamName: stream?.stream ?? '' }, signal))
    if (description === undefined) throw new Error('the answer is no description of a stream: this is no Firehose')
    return description
  })
  const described = async (signal: AbortSignal): Promise<StreamDescription> =>
    await describe(signal).catch(() => {
      throw new SeeFirst('stream.read')
    })
  const s3Destination = async (signal: AbortSignal): Promise<S3Destination> => {
    const { s3 } = await described(signal)
    if (s3 === undefined) throw new SeeFirst('stream.destination')
    return s3
  }
  const view = once(async (signal): Promise<BucketView> => {
    const { bucket, prefix } = archive ?? placeOf(await s3Destination(signal))
    const client = new S3Client({
      region,
      credentials: async () => {
        const { accessKeyId, secretAccessKey, sessionToken } = await caller.credentials(signal)
        return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) }
      },
      forcePathStyle: archive?.pathStyle ?? s3Endpoint !== undefined,
      followRegionRedirects: s3Endpoint === undefined,
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(s3Endpoint === undefined ? {} : { endpoint: s3Endpoint }),
    })
    clients.push(client)
    return { client, bucket, prefix }
  })
  const head = once(async (signal): Promise<string | undefined> => {
    const { client, bucket } = await view(signal)
    try {
      return (await client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: signal })).BucketRegion
    } catch (error) {
      // Who may not ask for its head may still ask other things; S3 then says where it lies all the same.
      if (statusOf(error) === 403) return undefined
      throw error
    }
  })
  const bucket = async (signal: AbortSignal): Promise<BucketView> => {
    await head(signal).catch(() => {
      throw new SeeFirst('bucket.read')
    })
    return await view(signal)
  }
  const firstPage = once(async (signal): Promise<ListObjectVersionsCommandOutput> => {
    const { client, bucket: name, prefix } = await bucket(signal)
    return await client.send(new ListObjectVersionsCommand({ Bucket: name, Prefix: prefix }), { abortSignal: signal })
  })

  return {
    caller,
    now,
    identity: once(async signal => await caller.sts('GetCallerIdentity', signal)),
    stream,
    archive,
    describe,
    described,
    s3Destination,
    head,
    bucket,
    firstPage,
    close: () => {
      for (const client of clients) client.destroy()
      caller.close()
    },
  }
}

function placeOf({ bucket, prefix }: S3Destination): { readonly bucket: string; readonly prefix: string } {
  return { bucket, prefix: staticPrefix(prefix) }
}

/** Of an error of the SDK. */
function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return undefined
  const { $metadata: metadata } = error
  return typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata && typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined
}
