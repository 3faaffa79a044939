/** `steno operate`: the operator. */

import { hostname } from 'node:os'

import { StenoError } from '../errors.ts'
import { createKubeClient } from '../kube/client.ts'
import { clusterFromKubeconfig, clusterFromPod } from '../kube/cluster.ts'
import { createControlPlane } from '../platform/aws/control-plane.ts'
import { startOperator } from '../operator/operator.ts'
import { systemClock } from '../platform/clock.ts'
import { createLog } from '../platform/log.ts'
import type { LogLevel } from '../platform/log.ts'
import { addressFlag, durationFlag } from './flag.ts'
import { readSettings } from './installation.ts'
import type { CliIo, ExitCode } from './io.ts'

/** As the command line gives them. */
export interface OperateOptions {
  readonly config?: string
  readonly admin: string
  readonly kubeconfig?: string
  readonly drain: string
  readonly logLevel: LogLevel
}

/** @returns 1 when the lease was lost: whoever runs this starts it again */
export async function runOperate(options: OperateOptions, io: CliIo): Promise<ExitCode> {
  if (options.config === undefined) throw new StenoError('usage.invalid', '--config is needed: the file that the injector has')
  const settings = await readSettings(options.config)
  const { aws } = settings
  const drainMs = durationFlag('--drain', options.drain)
  const admin = addressFlag('--admin', options.admin)
  const log = createLog({ level: options.logLevel, write: line => void io.stderr.write(line), now: systemClock.now })
  const cluster = options.kubeconfig === undefined ? await clusterFromPod(io.env) : await clusterFromKubeconfig(options.kubeconfig)
  const client = createKubeClient(cluster)
  try {
    const operator = await startOperator({ admin, client, namespace: settings.namespace, settings, instance: io.env['HOSTNAME'] ?? hostname(), clock: systemClock, log, random: Math.random, drainMs, ...(aws === undefined ? {} : { controlPlane: onCall => createControlPlane({ region: aws.region, env: io.env, clock: systemClock, onCall }) }) })
    log.info('listening', { admin: operator.adminPort, server: cluster.server.origin })
    const told = new Promise<undefined>(done => {
      if (io.signal.aborted) done(undefined)
      else io.signal.addEventListener('abort', () => done(undefined), { once: true })
    })
    const reason = await Promise.race([operator.lost, told])
    if (reason !== undefined) {
      // Another may act already: nothing of what is under way may go on.
      log.error('no longer leading; ending', { code: 'kube.request', reason })
      return 1
    }
    log.info('stopping: finishing what is under way')
    await operator.stop()
    log.info('stopped')
    return 0
  } finally {
    await client.close()
  }
}
