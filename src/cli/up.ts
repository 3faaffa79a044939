/** `steno up`: recorder and sink in one process, in front of one MCP server. */

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { StenoError } from '../errors.ts'
import { systemClock } from '../platform/clock.ts'
import { shortDigest } from '../platform/digest.ts'
import { createLog, LOG_LEVELS } from '../platform/log.ts'
import type { Log } from '../platform/log.ts'
import type { RecorderPolicy } from '../policy/compile.ts'
import { readKey } from '../recorder/keyed-hash.ts'
import { mountPolicies } from '../recorder/mounted-policies.ts'
import type { WriterPlace } from '../recorder/opening-frames.ts'
import { startRecorder } from '../recorder/recorder.ts'
import { addressFlag, durationFlag, MIN_SPOOL_MIB, ownAddressFlag, sizeFlag } from './flag.ts'
import type { CliIo, ExitCode } from './io.ts'
import { sinkOf } from './sink-flag.ts'
import { withTerminationLog } from './termination-log.ts'
import { version } from './version.ts'

/** As the command line gives them. */
export interface UpOptions {
  readonly upstream: string
  readonly archive?: string
  readonly archiveMax?: string
  readonly sink?: string
  readonly durability: string
  readonly spool?: string
  readonly listen: string
  readonly admin: string
  readonly onFailure: string
  readonly spoolMax: string
  readonly linger: string
  readonly offPodWait?: string
  readonly serverName?: string
  readonly keyFile?: string
  readonly keyMayBeAbsent?: boolean
  readonly logLevel?: string
  /** Gets a line when something is left to know at the end. */
  readonly terminationLog?: string
  /** Address from which it connects to servers, as `steno record` has it. */
  readonly connectFrom?: string
  /** Further servers, as `steno record` has them. */
  readonly further?: readonly { readonly upstream: string; readonly listen: string; readonly serverName: string }[]
  readonly place?: WriterPlace
  readonly workload?: string | undefined
  /** Of the pod; the folder is where they are kept up to date. */
  readonly policies?: { readonly made: readonly RecorderPolicy[]; readonly folder: string | undefined }
}

const MAX_LINGER_S = 3600
const MAX_WAIT_MS = 24 * 3_600_000

/** Records until the signal; then drains. */
export async function runUp(options: UpOptions, io: CliIo): Promise<ExitCode> {
  return await withTerminationLog(options.terminationLog, io, async say => await recordUntilTold(options, io, say))
}

/** @param say what whoever looks at a recorder that has ended should know */
export async function recordUntilTold(options: UpOptions, io: CliIo, say: (line: string) => void): Promise<ExitCode> {
  const upstream = parseUpstream(options.upstream)
  const sink = sinkOf(options, io)
  const place = sink.type === 'directory' ? sink.path : `firehose://${sink.stream}`
  const level = oneOf('--log-level', options.logLevel ?? 'info', LOG_LEVELS)
  const log = createLog({ level, write: line => void io.stderr.write(line), now: systemClock.now })
  const policies = options.policies === undefined ? undefined : await mountPolicies({ ...options.policies, digest: shortDigest, log })
  const starting = startRecorder({
    version: version(),
    upstream,
    listen: addressFlag('--listen', options.listen),
    admin: addressFlag('--admin', options.admin),
    serverName: options.serverName ?? upstream.host,
    spoolDirectory: resolve(options.spool ?? (sink.type === 'directory' ? join(sink.path, '.spool') : './spool')),
    spoolMaxBytes: sizeFlag('--spool-max', options.spoolMax, MIN_SPOOL_MIB),
    sink,
    lingerMs: parseLinger(options.linger),
    offPodWaitMs: options.offPodWait === undefined ? undefined : waitFlag(options.offPodWait),
    durability: oneOf('--durability', options.durability, ['local', 'off-pod'] as const),
    onFailure: oneOf('--on-failure', options.onFailure, ['block', 'allow'] as const),
    key: readKey(keyFileOf(options, log)),
    further: (options.further ?? []).map(each => ({ upstream: parseUpstream(each.upstream), listen: addressFlag('--port', each.listen), serverName: each.serverName })),
    connectFrom: options.connectFrom === undefined ? undefined : ownAddressFlag('--connect-from', options.connectFrom),
    place: options.place ?? {},
    workload: options.workload,
    policies,
    clock: systemClock,
    log,
    signal: io.signal,
  })
  const recorder = await starting.catch((error: unknown) => {
    // Asked to end before it began: nothing was passed on, nothing is lost.
    if (io.signal.aborted && error === io.signal.reason) return undefined
    throw error
  })
  if (recorder === undefined) {
    log.info('stopped before recording began; what earlier runs left stays in the spool')
    return 0
  }
  log.info('recording', { url: recorder.url, admin: recorder.adminUrl, upstream: upstream.origin, sink: place })
  await new Promise<void>(done => {
    if (io.signal.aborted) done()
    else io.signal.addEventListener('abort', () => done(), { once: true })
  })
  log.info('stopping: finishing what is in flight, then shipping')
  const { unshippedBytes, sinkProblem, ended } = await recorder.stop('signal')
  if (!ended) log.error('the spool could not be written to the last: the ends of sessions and what was missed at the end are not recorded; readers show this recording as cut. Look at the spool and its volume')
  if (unshippedBytes > 0) log.warn('some frames could not be shipped; they stay in the spool for the next start', { bytes: unshippedBytes })
  else if (ended) log.info('stopped: everything is shipped', { sink: place })
  const left = [
    ...(ended ? [] : ['the spool could not be written to the last, so this recording is cut: look at the spool and its volume']),
    ...(unshippedBytes > 0 ? [`${unshippedBytes} bytes are not shipped and stay in the spool for the next start; they are lost with its volume${sinkProblem === undefined ? '' : `: ${sinkProblem.message} (${sinkProblem.code})`}`] : []),
  ]
  if (left.length > 0) say(left.join('; '))
  return ended ? 0 : 1
}

/** In a pod the Secret may be absent: then what passes is recorded, under a key of this run. */
function keyFileOf({ keyFile, keyMayBeAbsent = false }: UpOptions, log: Log): string | undefined {
  if (keyFile === undefined || !keyMayBeAbsent || existsSync(keyFile)) return keyFile
  log.warn('there is no key file: hashes of this run cannot be compared with those of others; make the Secret in the namespace of the pod, and restart it', { file: keyFile })
  return undefined
}

function parseUpstream(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) throw new StenoError('usage.invalid', `--upstream must be an http or https URL such as http://127.0.0.1:3001/mcp, not ${JSON.stringify(text)}`)
  if (url.username !== '' || url.password !== '') throw new StenoError('usage.invalid', '--upstream must not carry a user name or password')
  return url
}

function waitFlag(text: string): number {
  const ms = durationFlag('--off-pod-wait', text)
  if (ms < 1 || ms > MAX_WAIT_MS) throw new StenoError('usage.invalid', `--off-pod-wait must be from 1ms to 24h, not ${JSON.stringify(text)}`)
  return ms
}

function parseLinger(text: string): number {
  const seconds = Number(text)
  if (text.trim() === '' || !(seconds >= 0 && seconds <= MAX_LINGER_S)) throw new StenoError('usage.invalid', `--linger must be seconds from 0 to ${MAX_LINGER_S}, not ${JSON.stringify(text)}`)
  return seconds * 1000
}

function oneOf<const T extends string>(flag: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find(each => each === text)
  if (found === undefined) throw new StenoError('usage.invalid', `${flag} must be one of ${allowed.join(', ')}, not ${JSON.stringify(text)}`)
  return found
}
