/** The injector's own writer, from its flags. Loaded only where it has one. */

import { resolve } from 'node:path'

import { systemClock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import { startAccessWriter } from '../recorder/access-writer.ts'
import type { AccessWriter } from '../recorder/access-writer.ts'
import { MIN_SPOOL_MIB, sizeFlag } from './flag.ts'
import type { CliIo } from './io.ts'
import { placeOf } from './place.ts'
import { sinkOf } from './sink-flag.ts'
import { version } from './version.ts'

export interface AccessLogFlags {
  readonly archive?: string
  readonly sink?: string
  readonly spool: string
  readonly spoolMax: string
}

const LINGER_MS = 5000

export async function openAccessLog(flags: AccessLogFlags, io: CliIo, log: Log): Promise<AccessWriter> {
  return await startAccessWriter({
    version: version(),
    place: placeOf(io.env),
    spoolDirectory: resolve(flags.spool),
    spoolMaxBytes: sizeFlag('--spool-max', flags.spoolMax, MIN_SPOOL_MIB),
    sink: sinkOf(flags, io),
    lingerMs: LINGER_MS,
    clock: systemClock,
    log,
    signal: io.signal,
  })
}
