/** How a bucket must be set so that nobody can take out, shadow or see what is recorded. */

import { GetBucketEncryptionCommand, GetBucketLifecycleConfigurationCommand, GetBucketPolicyCommand, GetBucketVersioningCommand, GetObjectLockConfigurationCommand, GetPublicAccessBlockCommand } from '@aws-sdk/client-s3'

import type { Check } from '../check.ts'
import { note, ok, problem } from '../check.ts'
import { deniedTo, readPolicy } from './deny-policy.ts'
import type { AwsSubject } from './subject.ts'

/** For the resource of a policy. */
const ANY_OBJECT = '2026/01/02/03/stream-1.jsonl.gz'
const ON_OBJECTS = ['s3:DeleteObject', 's3:DeleteObjectVersion', 's3:PutObjectRetention', 's3:BypassGovernanceRetention'] as const
const ON_BUCKET = ['s3:PutBucketVersioning', 's3:PutLifecycleConfiguration', 's3:DeleteBucket'] as const
const CANNOT_HIDE = new Set<string>(['s3:DeleteObject', 's3:DeleteObjectVersion'])

/** @returns undefined when the bucket has no such setting: S3 answers that with an error of its own */
async function unlessUnset<T>(asked: Promise<T>, error: string): Promise<T | undefined> {
  return await asked.catch((cause: unknown) => {
    if (cause instanceof Error && cause.name === error) return undefined
    throw cause
  })
}

export const BUCKET_CHECKS: readonly Check<AwsSubject>[] = [
  {
    id: 'bucket.read',
    title: 'the bucket is there',
    run: async (subject, signal) => {
      const region = await subject.head(signal)
      const { bucket } = await subject.bucket(signal)
      return ok(`${bucket}${region === undefined ? '' : ` in ${region}`}`)
    },
  },
  {
    id: 'bucket.versioning',
    title: 'every version is kept',
    run: async (subject, signal) => {
      const { client, bucket } = await subject.bucket(signal)
      const { Status: status } = await client.send(new GetBucketVersioningCommand({ Bucket: bucket }), { abortSignal: signal })
      if (status === 'Enabled') return ok('on')
      return problem(`versioning is ${status?.toLowerCase() ?? 'off'}`, 'who may write can replace a recording, and who may delete removes it', 'switch on versioning')
    },
  },
  {
    id: 'bucket.object-lock',
    title: 'versions are locked',
    run: async (subject, signal) => {
      const { client, bucket } = await subject.bucket(signal)
      const answer = await unlessUnset(client.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }), { abortSignal: signal }), 'ObjectLockConfigurationNotFoundError')
      const lock = answer?.ObjectLockConfiguration
      const retention = lock?.Rule?.DefaultRetention
      if (lock?.ObjectLockEnabled !== 'Enabled') return problem('Object Lock is off', 'who may delete versions removes recordings for good', 'switch on Object Lock, with a default retention')
      if (retention?.Mode === undefined) return note('Object Lock is on, without a default retention', 'Firehose locks nothing by itself, so nothing is locked', 'set a default retention')
      return ok(`${retention.Mode}, ${retention.Days === undefined ? `${retention.Years ?? 0} years` : `${retention.Days} days`}`)
    },
  },
  {
    id: 'bucket.deny-delete',
    title: 'the policy lets nobody delete',
    run: async (subject, signal) => {
      const { client, bucket, prefix } = await subject.bucket(signal)
      const answer = await unlessUnset(client.send(new GetBucketPolicyCommand({ Bucket: bucket }), { abortSignal: signal }), 'NoSuchBucketPolicy')
      const why = 'a role with too many rights, or somebody who has taken it over, can hide or remove recordings'
      const change = 'deny it to everybody but one role that is kept for that: hack/aws/steno.yaml has such a policy'
      if (answer?.Policy === undefined) return problem('there is no bucket policy', why, change)
      const statements = readPolicy(answer.Policy)
      // Partitions have other ARNs; the policy is of this bucket.
      const arn = (/"arn:(aws[a-z-]*):s3:::/.exec(answer.Policy)?.[1] ?? 'aws') + `:s3:::${bucket}`
      const open = [...ON_OBJECTS.filter(action => deniedTo(statements, action, `arn:${arn}/${prefix}${ANY_OBJECT}`) === undefined), ...ON_BUCKET.filter(action => deniedTo(statements, action, `arn:${arn}`) === undefined)]
      if (open.some(action => CANNOT_HIDE.has(action))) return problem(`not denied to everybody: ${open.join(', ')}`, why, change)
      if (open.length > 0) return note(`deleting is denied; not denied to everybody: ${open.join(', ')}`, 'with these, locks, versions or whole folders go in other ways', change)
      return ok(deniedTo(statements, 's3:DeleteObjectVersion', `arn:${arn}/${prefix}${ANY_OBJECT}`) === 'all' ? 'denied to everybody' : 'denied to all but those that the policy names')
    },
  },
  {
    id: 'bucket.public-access',
    title: 'nothing of it can be made public',
    run: async (subject, signal) => {
      const { client, bucket } = await subject.bucket(signal)
      const answer = await unlessUnset(client.send(new GetPublicAccessBlockCommand({ Bucket: bucket }), { abortSignal: signal }), 'NoSuchPublicAccessBlockConfiguration')
      const { BlockPublicAcls, BlockPublicPolicy, IgnorePublicAcls, RestrictPublicBuckets } = answer?.PublicAccessBlockConfiguration ?? {}
      const off = Object.entries({ BlockPublicAcls, BlockPublicPolicy, IgnorePublicAcls, RestrictPublicBuckets }).filter(([, on]) => on !== true).map(([name]) => name)
      if (off.length === 0) return ok('all four blocks are on')
      return problem(`off: ${off.join(', ')}`, 'a policy or an ACL can show recordings to everybody, unless the account blocks that', 'switch on all four blocks of public access')
    },
  },
  {
    id: 'bucket.encryption',
    title: 'objects are encrypted',
    run: async (subject, signal) => {
      const { client, bucket } = await subject.bucket(signal)
      const answer = await unlessUnset(client.send(new GetBucketEncryptionCommand({ Bucket: bucket }), { abortSignal: signal }), 'ServerSideEncryptionConfigurationNotFoundError')
      const byDefault = answer?.ServerSideEncryptionConfiguration?.Rules?.[0]?.ApplyServerSideEncryptionByDefault
      if (byDefault?.SSEAlgorithm === undefined) return note('no default encryption', 'AWS encrypts all the same (SSE-S3); another store may not', 'set a default encryption')
      return ok(`${byDefault.SSEAlgorithm}${byDefault.KMSMasterKeyID === undefined ? '' : ` with ${byDefault.KMSMasterKeyID}`}`)
    },
  },
  {
    id: 'bucket.lifecycle',
    title: 'nothing expires unnoticed',
    run: async (subject, signal) => {
      const { client, bucket, prefix } = await subject.bucket(signal)
      const answer = await unlessUnset(client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }), { abortSignal: signal }), 'NoSuchLifecycleConfiguration')
      const rules = (answer?.Rules ?? []).filter(rule => rule.Status === 'Enabled' && (rule.Expiration !== undefined || rule.NoncurrentVersionExpiration !== undefined))
      const ours = rules.filter(({ Filter: filter }) => {
        const folder = filter?.Prefix ?? filter?.And?.Prefix ?? ''
        return folder.startsWith(prefix) || prefix.startsWith(folder)
      })
      if (ours.length === 0) return ok('no rule lets recordings expire')
      return note(`rules that let objects expire: ${ours.map(({ ID: id }) => id ?? 'without a name').join(', ')}`, 'what has expired is gone from the archive: verify names it as missing', 'see that it is not before recordings may go')
    },
  },
]
