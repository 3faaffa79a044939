/** The same few things of moto and of the double, for tests that run on both. */

import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { BUCKET, startAwsDouble } from './double.ts'
import { HOW_TO_INSTALL, startMoto } from './moto.ts'

export interface AwsService {
  readonly endpoint: string
  /** What the stream has written, joined in the order of keys. */
  delivered(): Promise<Buffer>
  keys(): Promise<readonly string[]>
  /** Beside Firehose, as anybody who may write. */
  put(key: string, bytes: Uint8Array): Promise<void>
  remove(key: string): Promise<void>
  close(): Promise<void>
}

export const SERVICES: readonly { readonly name: string; readonly start: (test: Mocha.Context) => Promise<AwsService> }[] = [
  { name: 'moto', start: motoService },
  { name: 'the double', start: doubleService },
]

/** Skips the test where moto is missing. */
export async function motoService(test: Mocha.Context): Promise<AwsService> {
  test.timeout(60_000)
  const moto = await startMoto()
  if (moto === undefined) {
    if (process.env['CI'] === 'true') throw new Error(HOW_TO_INSTALL)
    console.error(`      skipped: ${HOW_TO_INSTALL}`)
    return test.skip()
  }
  const keys = async (): Promise<readonly string[]> => ((await moto.s3.send(new ListObjectsV2Command({ Bucket: BUCKET }))).Contents ?? []).map(({ Key }) => Key ?? '')
  return {
    endpoint: moto.endpoint,
    keys,
    delivered: async () => {
      const parts: Uint8Array[] = []
      for (const key of await keys()) {
        const { Body } = await moto.s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))
        parts.push((await Body?.transformToByteArray()) ?? new Uint8Array())
      }
      return Buffer.concat(parts)
    },
    put: async (key, bytes) => void (await moto.s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: bytes }))),
    remove: async key => void (await moto.s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: key }))),
    close: moto.close,
  }
}

async function doubleService(): Promise<AwsService> {
  const double = await startAwsDouble()
  return {
    endpoint: double.endpoint,
    keys: async () => [...double.bucket.keys.keys()].sort(),
    delivered: async () => {
      double.stream.flush()
      return Buffer.concat([...double.bucket.keys].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, versions]) => versions.map(({ bytes }) => bytes)))
    },
    put: async (key, bytes) => double.bucket.put(key, bytes, Date.now()),
    remove: async key => double.bucket.mark(key, Date.now()),
    close: double.close,
  }
}
