/** A cluster as the checks ask for it: what several need is asked for once, lists come in pages. Nothing here is kept by the API server. */

import { load } from 'js-yaml'

import { NATIVE_MINOR, OLDEST_MINOR } from '../../../inject/decide.ts'
import type { NamespaceFacts } from '../../../inject/decide.ts'
import { kubeletMinor, namespaceFacts } from '../../../inject/cluster-facts.ts'
import { STRICT_LABEL } from '../../../inject/marks.ts'
import { parseSettings } from '../../../inject/settings.ts'
import type { InjectorSettings } from '../../../inject/settings.ts'
import { KubeError } from '../../../kube/client.ts'
import type { KubeClient } from '../../../kube/client.ts'
import { ifFound } from '../../../kube/if-found.ts'
import { eachOf } from '../../../kube/pages.ts'
import { numberAt, objectAt, objectsAt, textAt, textsAt } from '../../../policy/json.ts'
import type { JsonObject } from '../../../policy/json.ts'
import { parsePolicy } from '../../../policy/parse-policy.ts'
import { problemText } from '../../../policy/problem.ts'
import { GROUP, KIND, PLURAL, VERSION } from '../../../policy/session-policy.ts'
import type { SessionPolicy } from '../../../policy/session-policy.ts'
import { SeeFirst } from '../check.ts'
import { once } from '../once.ts'
import { Named } from './named.ts'

export const INJECTOR = 'steno-injector'
export const OPERATOR = 'steno-operator'
/** Where it is when nothing says otherwise. */
const USUAL_NAMESPACE = 'steno-system'
/** Policies that are looked at; a cluster with more is looked at by namespace. */
export const MAX_POLICIES = 10_000

export interface PolicyView {
  readonly namespace: string
  readonly name: string
  /** `namespace/name`. */
  readonly key: string
  readonly createdMs: number
  readonly generation: number
  readonly conditions: readonly JsonObject[]
  /** As the operator counts them. */
  readonly outdated: number
  readonly deleting: boolean
  /** Undefined when this program cannot read it. */
  readonly policy: SessionPolicy | undefined
  readonly problem: string
}

export interface Nodes {
  readonly oldestMinor: number | undefined
  readonly count: number
  /** Too old for any recorder; old enough to need the plain one. */
  readonly unfit: Named
  readonly plain: Named
}

export interface Namespaces {
  /** Those with policies. */
  readonly facts: ReadonlyMap<string, NamespaceFacts>
  readonly strict: Named
}

export interface Configurations {
  readonly mutating: JsonObject | undefined
  readonly validating: JsonObject | undefined
}

export interface ClusterSubject {
  readonly client: KubeClient
  /** ms since epoch, of this machine. */
  readonly now: () => number
  /** Of this program. */
  readonly version: string
  /** Services of the cluster can be reached by their names. */
  readonly inPod: boolean
  /** Of the policies that are looked at; all when it is undefined. */
  readonly namespace: string | undefined
  /** Undefined where there is none. Rejects with a KubeError. */
  find(path: string, signal: AbortSignal): Promise<JsonObject | undefined>
  configurations(signal: AbortSignal): Promise<Configurations>
  /** Of the installation. */
  installation(signal: AbortSignal): Promise<string>
  /** Deployments of the installation. */
  deployment(name: typeof INJECTOR | typeof OPERATOR, signal: AbortSignal): Promise<JsonObject | undefined>
  /** What is wrong with them as a text, else what they are. */
  readSettings(signal: AbortSignal): Promise<InjectorSettings | string>
  /** The same for whom `installation.settings` tells of an error. Rejects with SeeFirst. */
  settings(signal: AbortSignal): Promise<InjectorSettings>
  /** Rejects with SeeFirst where there is no definition. */
  policies(signal: AbortSignal): Promise<readonly PolicyView[]>
  /** Those of a namespace that can be read and are not being deleted. */
  policiesOf(namespace: string, signal: AbortSignal): Promise<readonly SessionPolicy[]>
  nodes(signal: AbortSignal): Promise<Nodes>
  namespaces(signal: AbortSignal): Promise<Namespaces>
}

export interface ClusterSubjectOptions extends Pick<ClusterSubject, 'client' | 'now' | 'version' | 'inPod' | 'namespace'> {
  readonly installation: string | undefined
}

export function createClusterSubject({ installation: given, ...options }: ClusterSubjectOptions): ClusterSubject {
  const { client, version } = options

  const find = async (path: string, signal: AbortSignal): Promise<JsonObject | undefined> => await ifFound(client.request(path, { signal }))
  const configurations = once(async signal => {
    const at = (collection: string): string => `/apis/admissionregistration.k8s.io/v1/${collection}/${INJECTOR}`
    const [mutating, validating] = await Promise.all([find(at('mutatingwebhookconfigurations'), signal), find(at('validatingwebhookconfigurations'), signal)])
    return { mutating, validating }
  })
  const installation = once(async signal => {
    if (given !== undefined) return given
    // Who may not see them may still see the usual place.
    const { mutating } = await configurations(signal).catch(() => ({ mutating: undefined }))
    const said = objectsAt(mutating, 'webhooks').map(each => textAt(objectAt(objectAt(each, 'clientConfig'), 'service'), 'namespace'))
    return said.find(each => each !== undefined) ?? USUAL_NAMESPACE
  })
  const deploymentOf = (name: string): ((signal: AbortSignal) => Promise<JsonObject | undefined>) => once(async signal => await find(`/apis/apps/v1/namespaces/${await installation(signal)}/deployments/${name}`, signal))
  const deployments = { [INJECTOR]: deploymentOf(INJECTOR), [OPERATOR]: deploymentOf(OPERATOR) }
  const readSettings = once(async signal => {
    const namespace = await installation(signal)
    const place = `ConfigMap ${INJECTOR} of ${namespace}`
    const text = textAt(objectAt(await find(`/api/v1/namespaces/${namespace}/configmaps/${INJECTOR}`, signal), 'data'), 'config.yaml')
    if (text === undefined) return `there is no ${place}, or it holds no config.yaml`
    const parsed = parseSettings(fromYaml(text), version)
    return 'problems' in parsed ? `${place}: ${parsed.problems.map(problemText).join('; ')}` : parsed.settings
  })
  const policies = once(async signal => {
    const path = `/apis/${GROUP}/${VERSION}/${options.namespace === undefined ? '' : `namespaces/${options.namespace}/`}${PLURAL}`
    const views: PolicyView[] = []
    try {
      for await (const object of eachOf(client, path, { signal })) {
        views.push(policyView(object))
        if (views.length === MAX_POLICIES) break
      }
    } catch (error) {
      throw error instanceof KubeError && error.status === 404 ? new SeeFirst('crd.installed') : error
    }
    return views
  })

  return {
    ...options,
    find,
    configurations,
    installation,
    deployment: async (name, signal) => await deployments[name](signal),
    readSettings,
    settings: async signal => {
      const settings = await readSettings(signal)
      if (typeof settings === 'string') throw new SeeFirst('installation.settings')
      return settings
    },
    policies,
    policiesOf: async (namespace, signal) => (await policies(signal)).flatMap(each => (each.namespace === namespace && !each.deleting ? (each.policy ?? []) : [])),
    nodes: once(async signal => {
      const nodes = { oldestMinor: Infinity, count: 0, unfit: new Named(), plain: new Named() }
      for await (const object of eachOf(client, '/api/v1/nodes', { signal })) {
        const minor = kubeletMinor(object)
        if (minor === undefined) continue
        nodes.count++
        nodes.oldestMinor = Math.min(nodes.oldestMinor, minor)
        if (minor >= NATIVE_MINOR) continue
        const about = `${textAt(object['metadata'], 'name') ?? ''} (1.${minor})`
        if (minor < OLDEST_MINOR) nodes.unfit.add(about)
        else nodes.plain.add(about)
      }
      return { ...nodes, oldestMinor: nodes.count === 0 ? undefined : nodes.oldestMinor }
    }),
    namespaces: once(async signal => {
      const wanted = new Set((await policies(signal)).map(each => each.namespace))
      const facts = new Map<string, NamespaceFacts>()
      const strict = new Named()
      for await (const object of eachOf(client, '/api/v1/namespaces', { signal })) {
        const each = namespaceFacts(object)
        if (wanted.has(each.name)) facts.set(each.name, each)
        if (each.labels[STRICT_LABEL] === 'true' && (options.namespace === undefined || options.namespace === each.name)) strict.add(each.name)
      }
      return { facts, strict }
    }),
  }
}

function fromYaml(text: string): unknown {
  try {
    return load(text)
  } catch {
    return undefined
  }
}

function policyView(object: JsonObject): PolicyView {
  const { metadata } = object
  const parsed = parsePolicy({ ...object, apiVersion: `${GROUP}/${VERSION}`, kind: KIND })
  const namespace = textAt(metadata, 'namespace') ?? ''
  const name = textAt(metadata, 'name') ?? ''
  return {
    namespace,
    name,
    key: `${namespace}/${name}`,
    createdMs: Date.parse(textAt(metadata, 'creationTimestamp') ?? ''),
    generation: numberAt(metadata, 'generation') ?? 0,
    conditions: objectsAt(object['status'], 'conditions'),
    outdated: numberAt(objectAt(object['status'], 'pods'), 'outdated') ?? 0,
    deleting: textAt(metadata, 'deletionTimestamp') !== undefined,
    policy: 'policy' in parsed ? parsed.policy : undefined,
    problem: 'problems' in parsed ? parsed.problems.map(problemText).join('; ') : '',
  }
}

/** What the chart says an installed object is of. */
export function versionOf(object: JsonObject | undefined): string | undefined {
  return textsAt(object?.['metadata'], 'labels')['app.kubernetes.io/version']
}
