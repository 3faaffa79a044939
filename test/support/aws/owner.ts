/** Whoever owns an account: makes streams and buckets as they should be, and otherwise, with the AWS SDK. */

import { CreateDeliveryStreamCommand, DeleteDeliveryStreamCommand, FirehoseClient, StartDeliveryStreamEncryptionCommand } from '@aws-sdk/client-firehose'
import type { ExtendedS3DestinationConfiguration } from '@aws-sdk/client-firehose'
import { CreateBucketCommand, PutBucketEncryptionCommand, PutBucketPolicyCommand, PutBucketVersioningCommand, PutObjectLockConfigurationCommand, PutPublicAccessBlockCommand, S3Client } from '@aws-sdk/client-s3'

import { STATIC_KEYS } from './double.ts'

export const BUCKET = 'evidence'
/** A stream as hack/aws/steno.yaml makes it. */
export const RIGHT: ExtendedS3DestinationConfiguration = {
  BucketARN: `arn:aws:s3:::${BUCKET}`,
  RoleARN: 'arn:aws:iam::123456789012:role/firehose',
  Prefix: 'team-a/',
  ErrorOutputPrefix: 'errors/',
  CompressionFormat: 'UNCOMPRESSED',
  FileExtension: '.jsonl.gz',
  BufferingHints: { IntervalInSeconds: 60, SizeInMBs: 64 },
  CloudWatchLoggingOptions: { Enabled: true, LogGroupName: 'g', LogStreamName: 's' },
}
const POLICY = {
  Version: '2012-10-17',
  Statement: [
    { Sid: 'TlsOnly', Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: [`arn:aws:s3:::${BUCKET}`, `arn:aws:s3:::${BUCKET}/*`], Condition: { Bool: { 'aws:SecureTransport': 'false' } } },
    {
      Sid: 'DenyDelete',
      Effect: 'Deny',
      Principal: '*',
      Action: ['s3:DeleteObject', 's3:DeleteObjectVersion', 's3:PutObjectRetention', 's3:BypassGovernanceRetention'],
      Resource: `arn:aws:s3:::${BUCKET}/*`,
      Condition: { ArnNotEquals: { 'aws:PrincipalArn': 'arn:aws:iam::123456789012:root' } },
    },
    { Sid: 'DenyChange', Effect: 'Deny', Principal: { AWS: '*' }, Action: ['s3:DeleteBucket', 's3:PutBucketVersioning', 's3:PutLifecycleConfiguration'], Resource: `arn:aws:s3:::${BUCKET}`, Condition: { ArnNotEquals: { 'aws:PrincipalArn': 'arn:aws:iam::123456789012:root' } } },
  ],
} as const

export type Owner = ReturnType<typeof owner>

/** The SDK's hands on a service. */
export function owner(endpoint: string) {
  const config = { region: 'us-east-1', endpoint, credentials: { accessKeyId: STATIC_KEYS.id, secretAccessKey: STATIC_KEYS.secret }, maxAttempts: 1 }
  const s3 = new S3Client({ ...config, forcePathStyle: true })
  const firehose = new FirehoseClient(config)
  return {
    s3,
    makeBucket: async () => {
      await s3.send(new CreateBucketCommand({ Bucket: BUCKET, ObjectLockEnabledForBucket: true }))
      await s3.send(new PutBucketVersioningCommand({ Bucket: BUCKET, VersioningConfiguration: { Status: 'Enabled' } }))
      await s3.send(new PutObjectLockConfigurationCommand({ Bucket: BUCKET, ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled', Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 30 } } } }))
      await s3.send(new PutPublicAccessBlockCommand({ Bucket: BUCKET, PublicAccessBlockConfiguration: { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true } }))
      await s3.send(new PutBucketEncryptionCommand({ Bucket: BUCKET, ServerSideEncryptionConfiguration: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] } }))
      await s3.send(new PutBucketPolicyCommand({ Bucket: BUCKET, Policy: JSON.stringify(POLICY) }))
    },
    makeStream: async (name: string, settings: ExtendedS3DestinationConfiguration, { encrypted = true } = {}) => {
      await firehose.send(new CreateDeliveryStreamCommand({ DeliveryStreamName: name, DeliveryStreamType: 'DirectPut', ExtendedS3DestinationConfiguration: settings }))
      if (encrypted) await firehose.send(new StartDeliveryStreamEncryptionCommand({ DeliveryStreamName: name, DeliveryStreamEncryptionConfigurationInput: { KeyType: 'AWS_OWNED_CMK' } }))
    },
    removeStream: async (name: string) => void (await firehose.send(new DeleteDeliveryStreamCommand({ DeliveryStreamName: name }))),
    close: () => {
      s3.destroy()
      firehose.destroy()
    },
  }
}
