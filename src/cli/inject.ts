/** `steno inject`: the admission webhook; with `--dry-run`, the same decision on a file, without a cluster. */

import { hostname } from 'node:os'
import { dump } from 'js-yaml'

import { StenoError } from '../errors.ts'
import { namespaceFacts } from '../inject/cluster-facts.ts'
import { decide } from '../inject/decide.ts'
import type { Decision, NamespaceFacts } from '../inject/decide.ts'
import { sentence } from '../inject/reasons.ts'
import type { InjectorSettings } from '../inject/settings.ts'
import { createKubeClient } from '../kube/client.ts'
import { clusterFromKubeconfig, clusterFromPod } from '../kube/cluster.ts'
import { systemClock } from '../platform/clock.ts'
import { shortDigest } from '../platform/digest.ts'
import { createLog } from '../platform/log.ts'
import type { LogLevel } from '../platform/log.ts'
import { isObject, objectAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { parsePolicy } from '../policy/parse-policy.ts'
import { problemText } from '../policy/problem.ts'
import type { Problem } from '../policy/problem.ts'
import { KIND } from '../policy/session-policy.ts'
import type { SessionPolicy } from '../policy/session-policy.ts'
import { startWebhook } from '../webhook/webhook.ts'
import { addressFlag, durationFlag } from './flag.ts'
import { documents, readSettings, settingsOf } from './installation.ts'
import type { CliIo, ExitCode } from './io.ts'
import { printable } from './printable.ts'
import { write } from './write.ts'

/** As the command line gives them. */
export interface InjectOptions {
  readonly config?: string
  readonly listen: string
  readonly admin: string
  readonly certificate?: string
  readonly key?: string
  readonly ownCertificates?: boolean
  readonly archive?: string
  readonly sink?: string
  readonly spool: string
  readonly spoolMax: string
  readonly kubeconfig?: string
  readonly drain: string
  readonly logLevel: LogLevel
  readonly dryRun?: boolean
  readonly file?: string
  readonly policy?: readonly string[]
  readonly namespace?: string
  readonly nodeMinor: string
}

export async function runInject(options: InjectOptions, io: CliIo): Promise<ExitCode> {
  return options.dryRun === true ? await dryRun(options, io) : await serve(options, io)
}

async function serve(options: InjectOptions, io: CliIo): Promise<ExitCode> {
  if (options.config === undefined) throw new StenoError('usage.invalid', '--config is needed; without a cluster, use --dry-run')
  const files = certificateFiles(options)
  const drainMs = durationFlag('--drain', options.drain)
  const settings = await readSettings(options.config)
  const log = createLog({ level: options.logLevel, write: line => void io.stderr.write(line), now: systemClock.now })
  const cluster = options.kubeconfig === undefined ? await clusterFromPod(io.env) : await clusterFromKubeconfig(options.kubeconfig)
  const client = createKubeClient(cluster)
  const access = options.archive === undefined && options.sink === undefined ? undefined : await (await import('./access-log.ts')).openAccessLog(options, io, log)
  if (access === undefined) log.warn('who reaches past a recorder is told by Events alone: for frames, give --sink or --archive')
  try {
    const webhook = await startWebhook({
      listen: addressFlag('--listen', options.listen),
      admin: addressFlag('--admin', options.admin),
      certificate: files ?? { own: { namespace: settings.namespace, names: ['', `.${settings.namespace}`, `.${settings.namespace}.svc`].map(end => `steno-injector${end}`) } },
      settings,
      client,
      instance: io.env['HOSTNAME'] ?? hostname(),
      clock: systemClock,
      log,
      random: Math.random,
      drainMs,
      ...(access === undefined ? {} : { access }),
    })
    log.info('listening', { port: webhook.port, admin: webhook.adminPort, server: cluster.server.origin })
    void webhook.synced.then(() => log.info('ready: policies, namespaces and nodes are known'))
    await new Promise<void>(done => {
      if (io.signal.aborted) done()
      else io.signal.addEventListener('abort', () => done(), { once: true })
    })
    log.info('stopping: answering on until the API server has gone elsewhere')
    await webhook.stop()
    log.info('stopped')
    return 0
  } finally {
    const left = await access?.stop(io.signal.aborted ? 'signal' : 'error')
    if (left !== undefined && left > 0) log.warn('some frames could not be shipped; they stay in the spool for the next start', { bytes: left })
    await client.close()
  }
}

/** @returns undefined when the injector makes its own */
function certificateFiles({ certificate, key, ownCertificates = false }: InjectOptions): { readonly certFile: string; readonly keyFile: string } | undefined {
  if (ownCertificates && certificate === undefined && key === undefined) return undefined
  if (ownCertificates || certificate === undefined || key === undefined) throw new StenoError('usage.invalid', 'give either --own-certificates, or both --certificate and --key')
  return { certFile: certificate, keyFile: key }
}

async function dryRun(options: InjectOptions, io: CliIo): Promise<ExitCode> {
  if (options.file === undefined || options.policy === undefined) throw new StenoError('usage.invalid', '--dry-run needs -f FILE with a pod or a workload, and --policy FILE')
  const minor = Number(options.nodeMinor)
  if (!/^\d{1,3}$/.test(options.nodeMinor)) throw new StenoError('usage.invalid', `--node-minor must be the minor version of the oldest node such as 34, not ${JSON.stringify(options.nodeMinor)}`)
  const pods = (await documents(options.file, io)).map(podOf).filter(each => each !== undefined)
  if (pods.length === 0) throw new StenoError('usage.invalid', `no pod, and nothing with a pod template, in ${options.file}`)
  const settings = options.config === undefined ? EXAMPLE : await readSettings(options.config)
  const policies = (await Promise.all(options.policy.map(async file => await readPolicies(file, io)))).flat()
  if (policies.length === 0) throw new StenoError('usage.invalid', `no ${KIND} in ${options.policy.join(', ')}`)
  const namespace = options.namespace === undefined ? { name: 'default', labels: {}, annotations: {} } : await readNamespace(options.namespace, io)
  for (const pod of pods) {
    const decision = decide({ pod, namespace, policies, settings, oldestNodeMinor: minor, digest: shortDigest })
    for (const line of about(pod, decision)) io.stderr.write(`${printable(line)}\n`)
    await write(io.stdout, `---\n${dump(decision.pod, { lineWidth: -1, noRefs: true })}`)
  }
  return 0
}

/** What a dry run assumes of an installation when it is given none. */
const EXAMPLE: InjectorSettings = settingsOf({ image: 'steno', sink: { claim: 'steno-archive' } }, 'the built-in example')

function about(pod: JsonObject, decision: Decision): string[] {
  const name = textAt(pod['metadata'], 'name') ?? textAt(pod['metadata'], 'generateName') ?? 'pod'
  const how = decision.decision === 'inject' ? ` Capture ${decision.capture}, ${decision.mode} sidecar, ${decision.ports.map(each => `${each.name ?? each.port} → ${each.listen}`).join(', ')}.` : ''
  return [`${name}: ${decision.decision} (${decision.reason}): ${sentence(decision.reason, decision.detail)}${how}`, ...decision.warnings.map(warning => `${name}: warning: ${warning}`)]
}

/** A pod, or the pod that a Deployment, Job or the like would make. */
function podOf(document: unknown): JsonObject | undefined {
  if (!isObject(document)) return undefined
  if (document['kind'] === 'Pod') return document
  const spec = objectAt(document, 'spec')
  const template = document['kind'] === 'CronJob' ? objectAt(objectAt(objectAt(spec, 'jobTemplate'), 'spec'), 'template') : objectAt(spec, 'template')
  if (template['spec'] === undefined) return undefined
  return { apiVersion: 'v1', kind: 'Pod', metadata: { generateName: `${textAt(document['metadata'], 'name') ?? 'pod'}-`, ...objectAt(template, 'metadata') }, spec: objectAt(template, 'spec') }
}

async function readNamespace(file: string, io: CliIo): Promise<NamespaceFacts> {
  const namespace = (await documents(file, io)).find(each => isObject(each) && each['kind'] === 'Namespace')
  if (!isObject(namespace)) throw new StenoError('usage.invalid', `no Namespace in ${file}; kubectl get namespace NAME -o yaml prints one`)
  return namespaceFacts(namespace)
}

async function readPolicies(file: string, io: CliIo): Promise<SessionPolicy[]> {
  return (await documents(file, io))
    .filter(each => isObject(each) && each['kind'] === KIND)
    .map(document => {
      const parsed = parsePolicy(document)
      if ('problems' in parsed) throw new StenoError('policy.invalid', `${file}: ${allOf(parsed.problems)}`)
      return parsed.policy
    })
}

function allOf(problems: readonly Problem[]): string {
  return problems.map(problemText).join('; ')
}
