/** Where recordings go: a folder with `--archive`, a stream with `--sink`. */

import { resolve } from 'node:path'

import { StenoError } from '../errors.ts'
import type { SinkConfig } from '../sink/create-sink.ts'
import type { FirehoseConfig } from '../sink/firehose.ts'
import { parseAwsPlace } from './aws-place.ts'
import { sizeFlag } from './flag.ts'
import { defaultArchive } from './io.ts'
import type { CliIo } from './io.ts'
import { isS3 } from './s3-source.ts'

/** Of flags and environment; the default folder without either flag. */
export function sinkOf({ archive, archiveMax, sink }: { readonly archive?: string | undefined; readonly archiveMax?: string | undefined; readonly sink?: string | undefined }, io: CliIo): SinkConfig {
  if (sink === undefined) {
    const path = archive ?? defaultArchive(io)
    if (isS3(path)) throw new StenoError('usage.invalid', `recordings reach ${path} through Firehose: give --sink firehose://stream, and a folder or nothing as archive`)
    if (/^firehose:/i.test(path)) throw new StenoError('usage.invalid', `${path} is no folder; give it as --sink`)
    return { type: 'directory', path: resolve(path), ...(archiveMax === undefined ? {} : { maxBytes: sizeFlag('--archive-max', archiveMax) }) }
  }
  if (archiveMax !== undefined) throw new StenoError('usage.invalid', '--archive-max is of a folder, and --sink names a stream; leave one of them out')
  if (archive !== undefined) throw new StenoError('usage.invalid', '--archive and --sink name two places for recordings; give one of them')
  return { type: 'firehose', ...firehosePlace(sink, io) }
}

/** @throws StenoError `usage.invalid` */
export function firehosePlace(sink: string, io: CliIo): FirehoseConfig {
  const { name, path, region, endpoint } = parseAwsPlace('--sink', sink, 'firehose', { options: ['region', 'endpoint'], env: io.env })
  if (path !== '') throw new StenoError('usage.invalid', `--sink ${JSON.stringify(sink)}: a stream has no path`)
  if (region === undefined) throw new StenoError('usage.invalid', `--sink ${JSON.stringify(sink)}: no region is set; add ?region=…, or set AWS_REGION`)
  return { stream: name, region, endpoint }
}
