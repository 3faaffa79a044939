/** The streams that policies and installation name, by the checks of `steno doctor aws`. */

import { AwsCallError } from '../../../platform/aws/call.ts'
import type { FirehoseConfig } from '../../../sink/firehose.ts'
import { nowMs } from '../../io.ts'
import type { CliIo } from '../../io.ts'
import { usualEndpoint } from '../../s3-source.ts'
import { awsChecks } from '../aws/checks.ts'
import { explainAws } from '../aws/explain.ts'
import { createAwsSubject } from '../aws/subject.ts'
import { runChecks, SeeFirst } from '../check.ts'
import type { Check, CheckResult, Finding } from '../check.ts'
import { counted, named } from './named.ts'
import type { ClusterSubject } from './subject.ts'

/** That are looked at. */
const MAX_STREAMS = 10

export const STREAMS = { id: 'streams', title: 'streams that policies and installation name can be looked at' }

/** What a person's credentials may put or read says nothing about those of recorders. */
export const STREAM_CHECKS = awsChecks({ stream: true, sts: true }).filter(({ id }) => !id.startsWith('rights.'))

export interface StreamOptions {
  readonly io: CliIo
  readonly timeout: string
  readonly late: () => boolean
  readonly skip: readonly string[]
}

/** @param explain makes a result of what the cluster throws @returns one finding of the whole, and one of everything about a stream that is not as it should be */
export async function streamFindings(subject: ClusterSubject, options: StreamOptions, explain: (error: unknown) => CheckResult, signal: AbortSignal): Promise<readonly Finding[]> {
  const { io } = options
  try {
    const settings = await subject.settings(signal)
    const env = settings.awsEndpoint === undefined || usualEndpoint(io) !== undefined ? io.env : { ...io.env, AWS_ENDPOINT_URL: settings.awsEndpoint }
    const all = new Map<string, FirehoseConfig>()
    const add = (sink: FirehoseConfig | undefined): void => void (sink !== undefined && all.set(`${sink.stream} in ${sink.region}`, sink))
    add('firehose' in settings.sink ? settings.sink.firehose : undefined)
    for (const { policy, deleting } of await subject.policies(signal)) if (!deleting) add(policy?.spec.sink)
    if (all.size === 0) return [{ ...STREAMS, state: 'ok', found: 'none is named: recordings stay in volumes' }]
    const looked = [...all].slice(0, MAX_STREAMS)
    const results = await Promise.all(looked.map(async ([name, stream]) => ({ name, stream, findings: await look(stream, { ...options, io: { ...io, env } }, signal) })))
    const blind = results.filter(({ findings }) => findings === undefined)
    // What hangs on a finding is not told once more, for each of several streams.
    const found = results.flatMap(({ name, findings = [] }) => findings.filter(({ state, see }) => state !== 'ok' && see === undefined).map(each => ({ ...each, found: `${name}: ${each.found}` })))
    if (blind.length > 0) {
      const change = `set AWS_PROFILE or keys and try again, leave this out with --skip streams, or run steno doctor aws --sink 'firehose://${blind[0]?.stream.stream ?? ''}?region=${blind[0]?.stream.region ?? ''}' elsewhere`
      return [{ ...STREAMS, state: 'unknown', found: `no AWS credentials here to look at ${named(blind.map(({ name }) => name)).text}`, change }, ...found]
    }
    const left = all.size - looked.length
    if (left > 0) return [{ ...STREAMS, state: 'note', found: `${counted(left, 'stream')} of ${all.size} not looked at`, why: 'they may be set otherwise', change: 'look at one namespace at a time: --namespace NAME' }, ...found]
    return [{ ...STREAMS, state: 'ok', found: named(looked.map(([name]) => name)).text }, ...found]
  } catch (error) {
    return [{ ...STREAMS, ...(error instanceof SeeFirst ? error.result : explain(error)) }]
  }
}

/** Undefined without credentials. */
async function look(stream: FirehoseConfig, { io, timeout, late, skip }: StreamOptions, signal: AbortSignal): Promise<readonly Finding[] | undefined> {
  const { region } = stream
  const subject = createAwsSubject({ stream, archive: undefined, region, s3Endpoint: usualEndpoint(io), env: io.env, now: () => nowMs(io) })
  try {
    await subject.caller.credentials(signal)
    return await runChecks(STREAM_CHECKS.filter(({ id }: Check<never>) => !skip.includes(id)), subject, error => explainAws(error, { region, timeout, late }), signal)
  } catch (error) {
    if (error instanceof AwsCallError && error.credentials) return undefined
    throw error
  } finally {
    subject.close()
  }
}
