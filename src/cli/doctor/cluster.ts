/** `steno doctor`, `steno doctor cluster`: what is broken in a cluster. Changes and writes nothing: pods are tried in dry runs only. */

import { StenoError } from '../../errors.ts'
import { createKubeClient } from '../../kube/client.ts'
import { durationFlag } from '../flag.ts'
import { nowMs } from '../io.ts'
import type { CliIo, ExitCode } from '../io.ts'
import type { OutputOptions } from '../output.ts'
import { version } from '../version.ts'
import type { Check } from './check.ts'
import { runChecks } from './check.ts'
import { connect } from './cluster/connect.ts'
import { explainKube } from './cluster/explain.ts'
import { INSTALLATION_CHECKS } from './cluster/installation-checks.ts'
import { POLICY_CHECKS } from './cluster/policy-checks.ts'
import type { PolicySubject } from './cluster/policy-checks.ts'
import { STREAM_CHECKS, streamFindings, STREAMS } from './cluster/streams.ts'
import { createClusterSubject } from './cluster/subject.ts'
import { createSurvey } from './cluster/survey.ts'
import { report } from './report.ts'

export interface DoctorClusterOptions extends OutputOptions {
  readonly namespace?: string
  readonly installation?: string
  readonly kubeconfig?: string
  readonly context?: string
  readonly timeout: string
  readonly skip?: readonly string[]
}

const CHECKS: readonly Check<PolicySubject>[] = [...INSTALLATION_CHECKS, ...POLICY_CHECKS]
const NAME = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/

export async function runDoctorCluster(options: DoctorClusterOptions, io: CliIo): Promise<ExitCode> {
  const { timeout, namespace, installation } = options
  const timeoutMs = durationFlag('--timeout', timeout)
  for (const [flag, name] of [['--namespace', namespace], ['--installation', installation]] as const) if (name !== undefined && !NAME.test(name)) throw new StenoError('usage.invalid', `${flag} ${JSON.stringify(name)} is no name of a namespace`)
  const skip = options.skip ?? []
  const known = [...CHECKS, STREAMS, ...STREAM_CHECKS].map(({ id }) => id)
  for (const id of skip) if (!known.includes(id)) throw new StenoError('usage.invalid', `--skip '${id}' is none of ${known.join(', ')}`)

  const { cluster, inPod } = await connect(options, io)
  const client = createKubeClient(cluster)
  const late = AbortSignal.timeout(timeoutMs)
  const signal = AbortSignal.any([io.signal, late])
  try {
    const plain = createClusterSubject({ client, now: () => nowMs(io), version: version(), inPod, namespace, installation })
    const subject = { ...plain, survey: createSurvey(plain) }
    const times = { timeout, late: () => late.aborted }
    const explain = (error: unknown): ReturnType<typeof explainKube> => explainKube(error, times)
    const [findings, streams] = await Promise.all([
      runChecks(CHECKS.filter(({ id }) => !skip.includes(id)), subject, explain, signal),
      skip.includes(STREAMS.id) ? [] : streamFindings(subject, { io, skip, ...times }, explain, signal),
    ])
    io.signal.throwIfAborted()
    return await report([...findings, ...streams], options, io)
  } finally {
    await client.close()
  }
}
