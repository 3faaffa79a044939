/** From a plain description, which can be sent to a worker thread, to a sink. */

import { createDirectorySink } from './directory.ts'
import type { Sink } from './sink.ts'

export type SinkConfig = { readonly type: 'directory'; readonly path: string }

export function createSink(config: SinkConfig, now: () => number): Sink {
  return createDirectorySink({ path: config.path, now })
}
