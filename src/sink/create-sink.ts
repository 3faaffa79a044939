/** From a plain description, which can be sent to a worker thread, to a sink. */

import { createDirectorySink } from './directory.ts'
import type { FirehoseConfig } from './firehose.ts'
import type { Sink } from './sink.ts'

export type SinkConfig = { readonly type: 'directory'; readonly path: string; readonly maxBytes?: number } | ({ readonly type: 'firehose' } & FirehoseConfig)

/** Loads only what the sink needs: the AWS client costs memory. */
export async function createSink(config: SinkConfig, now: () => number): Promise<Sink> {
  if (config.type === 'directory') return createDirectorySink({ path: config.path, maxBytes: config.maxBytes, now })
  const [{ createFirehoseSink }, { createFirehoseClient }] = await Promise.all([import('./firehose.ts'), import('./firehose-client.ts')])
  return createFirehoseSink({ stream: config.stream, createClient: () => createFirehoseClient(config, { env: process.env, now }) })
}
