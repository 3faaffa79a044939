/** `steno doctor aws`: whether a live stream and its bucket are set as Steno needs them. Changes and writes nothing. */

import { StenoError } from '../../errors.ts'
import { durationFlag } from '../flag.ts'
import { nowMs } from '../io.ts'
import type { CliIo, ExitCode } from '../io.ts'
import type { OutputOptions } from '../output.ts'
import { isS3, s3Place, usualEndpoint } from '../s3-source.ts'
import { firehosePlace } from '../sink-flag.ts'
import { awsChecks } from './aws/checks.ts'
import { explainAws } from './aws/explain.ts'
import { createAwsSubject } from './aws/subject.ts'
import { runChecks } from './check.ts'
import { report } from './report.ts'

export interface DoctorAwsOptions extends OutputOptions {
  readonly sink?: string
  readonly archive?: string
  readonly timeout: string
  readonly skip?: readonly string[]
}

export async function runDoctorAws(options: DoctorAwsOptions, io: CliIo): Promise<ExitCode> {
  const timeoutMs = durationFlag('--timeout', options.timeout)
  const { stream, archive } = placesOf(options, io)
  const region = stream?.region ?? archive?.region
  if (region === undefined) throw new StenoError('usage.invalid', 'no region is set; add ?region=… to the place, or set AWS_REGION')
  const all = awsChecks({ stream: stream !== undefined, sts: stream !== undefined || archive?.endpoint === undefined })
  const skip = options.skip ?? []
  for (const id of skip) if (!all.some(check => check.id === id)) throw new StenoError('usage.invalid', `--skip '${id}' is none of ${all.map(check => check.id).join(', ')}`)

  const late = AbortSignal.timeout(timeoutMs)
  const subject = createAwsSubject({ stream, archive, region, s3Endpoint: archive?.endpoint ?? usualEndpoint(io), env: io.env, now: () => nowMs(io) })
  try {
    const findings = await runChecks(all.filter(({ id }) => !skip.includes(id)), subject, error => explainAws(error, { region, timeout: options.timeout, late: () => late.aborted }), AbortSignal.any([io.signal, late]))
    io.signal.throwIfAborted()
    return await report(findings, options, io)
  } finally {
    subject.close()
  }
}

function placesOf({ sink, archive }: DoctorAwsOptions, io: CliIo) {
  if (sink === undefined && archive === undefined) throw new StenoError('usage.invalid', 'nothing to look at: give --sink firehose://stream, --archive s3://bucket/prefix, or both')
  if (archive !== undefined && !isS3(archive)) throw new StenoError('usage.invalid', `--archive ${JSON.stringify(archive)} is no bucket; write it like s3://bucket/prefix`)
  return { stream: sink === undefined ? undefined : firehosePlace(sink, io), archive: archive === undefined ? undefined : s3Place(archive, io) }
}
