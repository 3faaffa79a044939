/** `--archive s3://bucket/prefix?region=…&endpoint=…&style=path`: an archive in S3 or a store that speaks like it. */

import { createHash } from 'node:crypto'
import { join } from 'node:path'

import type { RecordingSource } from '../archive/open-recording.ts'
import type { S3Place } from '../archive/s3.ts'
import { StenoError } from '../errors.ts'
import { setTo } from '../platform/aws/credentials.ts'
import { parseAwsPlace } from './aws-place.ts'
import type { CliIo } from './io.ts'

export function isS3(name: string): boolean {
  // Whatever is meant to be one must not be taken for a folder.
  return /^s3:/i.test(name)
}

export function s3Source(text: string, io: CliIo): RecordingSource {
  const place = s3Place(text, io)
  return { type: 's3', name: text, place, cacheFolder: cacheFolder([place.endpoint ?? usualEndpoint(io) ?? '', place.bucket, place.prefix], io) }
}

/** @throws StenoError `usage.invalid` */
export function s3Place(text: string, io: CliIo): S3Place {
  const { name: bucket, path, region, endpoint, style } = parseAwsPlace('--archive', text, 's3', { options: ['region', 'endpoint', 'style'], env: io.env })
  if (style !== undefined && style !== 'path' && style !== 'host') throw new StenoError('usage.invalid', `--archive ${JSON.stringify(text)}: style is path or host`)
  return {
    bucket,
    prefix: path === '' ? '' : `${path}/`,
    region: region ?? (endpoint === undefined ? undefined : 'us-east-1'),
    endpoint,
    // Other stores seldom have a name for each bucket.
    pathStyle: style === undefined ? (endpoint ?? usualEndpoint(io)) !== undefined : style === 'path',
  }
}

/** Of S3, where the SDK's variables name another. */
export function usualEndpoint({ env }: Pick<CliIo, 'env'>): string | undefined {
  return setTo(env['AWS_ENDPOINT_URL_S3']) ?? setTo(env['AWS_ENDPOINT_URL'])
}

/** One per place, for its catalog. */
function cacheFolder(place: readonly string[], io: CliIo): string | undefined {
  const home = setTo(io.env['HOME'])
  const base = setTo(io.env['XDG_CACHE_HOME']) ?? (home === undefined ? undefined : join(home, '.cache'))
  if (base === undefined) return undefined
  return join(base, 'steno', createHash('sha256').update(JSON.stringify(place)).digest('hex').slice(0, 16))
}
