/** Where a process runs in a cluster, as the injector and the chart set it in the environment (`src/inject/recorder-container.ts`). */

import type { WriterPlace } from '../recorder/opening-frames.ts'
import type { CliIo } from './io.ts'
import { labelsOf } from './pod-policies.ts'

export function placeOf(env: CliIo['env']): WriterPlace {
  const known = Object.entries({ pod: env['STENO_POD'], namespace: env['STENO_NAMESPACE'], node: env['STENO_NODE'], image: env['STENO_IMAGE'] })
  const labels = labelsOf(env)
  return { ...Object.fromEntries(known.filter(([, value]) => value !== undefined && value !== '')), ...(labels === undefined ? {} : { labels }) }
}

/** Kind and name of what made the pod; undefined when nothing did. */
export function workloadOf(env: CliIo['env']): string | undefined {
  return env['STENO_WORKLOAD'] === '' ? undefined : env['STENO_WORKLOAD']
}
