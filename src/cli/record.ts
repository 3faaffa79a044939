/** `steno record`: the recorder as the sidecar of a pod. Its servers listen in the same network, on the numbers that are given. */

import { StenoError } from '../errors.ts'
import type { CliIo, ExitCode } from './io.ts'
import { placeOf, workloadOf } from './place.ts'
import { policiesOf } from './pod-policies.ts'
import { withTerminationLog } from './termination-log.ts'
import { recordUntilTold } from './up.ts'
import type { UpOptions } from './up.ts'

/** As the command line gives them. */
export interface RecordOptions extends Omit<UpOptions, 'upstream' | 'listen' | 'further' | 'place' | 'workload' | 'policies' | 'keyMayBeAbsent'> {
  readonly port: readonly string[]
  /** Folder in which policies are kept up to date. */
  readonly policies?: string
}

/** Where it runs comes from the environment, as the injector sets it (`src/inject/recorder-container.ts`). */
export async function runRecord(options: RecordOptions, io: CliIo): Promise<ExitCode> {
  return await withTerminationLog(options.terminationLog, io, async say => await recordUntilTold(upOptions(options, io), io, say))
}

function upOptions(options: RecordOptions, io: CliIo): UpOptions {
  const name = options.serverName ?? 'mcp'
  const pairs = options.port.map(parsePair)
  // Sessions of two servers must not be taken for one.
  const [first, ...further] = pairs.map(({ listen, app }) => ({ upstream: `http://127.0.0.1:${app}/`, listen: `*:${listen}`, serverName: pairs.length === 1 ? name : `${name}:${app}` }))
  if (first === undefined) throw new StenoError('usage.invalid', '--port is needed: LISTEN=APP such as 15080=8080')
  const made = policiesOf(io.env)
  const { policies: folder, ...rest } = options
  return { ...rest, ...first, further, keyMayBeAbsent: true, ...(made.length === 0 ? {} : { policies: { made, folder } }), place: placeOf(io.env), workload: workloadOf(io.env) }
}

function parsePair(text: string): { readonly listen: number; readonly app: number } {
  const match = /^(\d{1,5})=(\d{1,5})$/.exec(text)
  const [listen, app] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || listen > 65_535 || app < 1 || app > 65_535) throw new StenoError('usage.invalid', `--port must be LISTEN=APP such as 15080=8080, not ${JSON.stringify(text)}`)
  return { listen, app }
}
