/** moto as AWS: a server of its own for a test file. Where it is not installed the test is skipped and says what to do; in CI that is a failure. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { CreateBucketCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3'
import { CreateDeliveryStreamCommand, FirehoseClient } from '@aws-sdk/client-firehose'
import { closeAtTheEnd } from '../leftovers.ts'
import { BUCKET, STATIC_KEYS, STREAM } from './double.ts'

export interface Moto {
  readonly endpoint: string
  readonly s3: S3Client
  close(): Promise<void>
}

export const HOW_TO_INSTALL = "moto is not installed: python3 -m venv ~/.cache/steno-moto && ~/.cache/steno-moto/bin/pip install 'moto[server]==5.2.5', and set STENO_MOTO=~/.cache/steno-moto/bin/moto_server"

/** With a versioned bucket and a stream into it. @returns undefined when moto is not installed */
export async function startMoto(): Promise<Moto | undefined> {
  const child = spawn(process.env['STENO_MOTO'] ?? 'moto_server', ['-H', '127.0.0.1', '-p', '0'], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, NO_COLOR: '1' } })
  const endpoint = await new Promise<string | undefined>((resolve, reject) => {
    child.on('error', error => ('code' in error && error.code === 'ENOENT' ? resolve(undefined) : reject(error)))
    child.on('exit', code => reject(new Error(`moto ended with ${code}`)))
    createInterface({ input: child.stderr }).on('line', line => {
      const found = /Running on (http:\/\/[\d.:]+)/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
  })
  if (endpoint === undefined) return undefined
  const close = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  closeAtTheEnd(close)
  const config = { region: 'us-east-1', endpoint, credentials: { accessKeyId: STATIC_KEYS.id, secretAccessKey: STATIC_KEYS.secret } }
  const s3 = new S3Client({ ...config, forcePathStyle: true })
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }))
  await s3.send(new PutBucketVersioningCommand({ Bucket: BUCKET, VersioningConfiguration: { Status: 'Enabled' } }))
  const firehose = new FirehoseClient(config)
  await firehose.send(
    new CreateDeliveryStreamCommand({
      DeliveryStreamName: STREAM,
      DeliveryStreamType: 'DirectPut',
      ExtendedS3DestinationConfiguration: { BucketARN: `arn:aws:s3:::${BUCKET}`, RoleARN: 'arn:aws:iam::123456789012:role/firehose', Prefix: 'team-a/', CompressionFormat: 'UNCOMPRESSED' },
    }),
  )
  firehose.destroy()
  return { endpoint, s3, close }
}
