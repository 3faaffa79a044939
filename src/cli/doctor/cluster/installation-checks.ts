/** What Steno itself consists of in a cluster. */

import { KubeError } from '../../../kube/client.ts'
import { numberAt, objectAt, objectsAt, textAt } from '../../../policy/json.ts'
import { SPEC_FIELDS } from '../../../policy/parse-policy.ts'
import { GROUP, PLURAL, VERSION } from '../../../policy/session-policy.ts'
import { eachOf } from '../../../kube/pages.ts'
import type { Check, CheckResult } from '../check.ts'
import { note, ok, problem, SeeFirst } from '../check.ts'
import { checkAnswer, checkTrust, checkValidity, webhooksOf } from './certificate.ts'
import { INJECTOR, OPERATOR, versionOf } from './subject.ts'
import type { ClusterSubject } from './subject.ts'

type ClusterCheck = Check<ClusterSubject>

const UNRECORDED = 'new pods are created without a recorder, or in strict namespaces not at all'
const UNTENDED = 'recording goes on; status, access rules, NetworkPolicies and roles are not kept up'
/** Its entries, by the names in webhooks/. */
const MUTATING = ['strict.inject.steno.dev', 'inject.steno.dev']
const VALIDATING = ['strict.validate.steno.dev', 'policy.validate.steno.dev', 'strict.connect.steno.dev', 'connect.steno.dev']
/** A holder renews every few seconds; clocks may differ by some. */
const STALE_MS = 60_000

const REACHED_CHECK: ClusterCheck = {
  id: 'cluster.reached',
  title: 'the API server answers',
  run: async ({ client }, signal) => {
    try {
      return ok(textAt(await client.request('/version', { signal }), 'gitVersion') ?? 'it answers')
    } catch (error) {
      if (!(error instanceof KubeError)) throw error
      if (error.status === 401) return problem('the API server does not know these credentials', 'nothing can be looked at', 'get new ones; kubectl get namespaces must work')
      // Every API server has it; who may not read it gets 403.
      if (error.status === 404) return problem('what answers there is no API server', 'nothing that follows says anything about a cluster', 'check the address in the kubeconfig, and proxies on the way; kubectl get namespaces must work')
      if (error.status !== 0) return ok(`it answers ${error.status}`)
      signal.throwIfAborted()
      return problem(error.message, 'nothing can be looked at', 'check the address in the kubeconfig and the network; kubectl get namespaces must work')
    }
  },
}

const CRD_CHECK: ClusterCheck = {
  id: 'crd.installed',
  title: 'the definition of policies is there, and as new as this program',
  run: async (subject, signal) => {
    const name = `${PLURAL}.${GROUP}`
    const crd = await subject.find(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`, signal)
    const change = 'helm upgrade the chart of this version; with crds.install=false, kubectl apply --server-side -f crds/: docs/upgrade.md#crd'
    if (crd === undefined) return problem(`there is no CustomResourceDefinition ${name}`, 'no policy can be written, and nothing is recorded', change)
    const established = objectsAt(crd['status'], 'conditions').find(each => each['type'] === 'Established')
    if (established?.['status'] !== 'True') return problem(`it is not established: ${textAt(established, 'message') ?? 'no reason given'}`, 'no policy can be written', change)
    const version = objectsAt(crd['spec'], 'versions').find(each => each['name'] === VERSION)
    if (version?.['served'] !== true) return problem(`it does not serve ${VERSION}`, 'neither injector nor operator can read policies', change)
    const spec = ['openAPIV3Schema', 'properties', 'spec', 'properties'].reduce(objectAt, objectAt(version, 'schema'))
    const missing = SPEC_FIELDS.filter(each => spec[each] === undefined)
    if (missing.length > 0) return problem(`it is older than this program: no spec.${missing.join(', spec.')}`, 'the API server refuses these fields, or drops them without a word', change)
    const unknown = Object.keys(spec).filter(each => !SPEC_FIELDS.includes(each))
    if (unknown.length > 0) return note(`it is newer than this program: spec.${unknown.join(', spec.')}`, 'policies with these fields cannot be judged here', 'use the steno of the same version')
    return ok(`${VERSION} is served`)
  },
}

const SETTINGS_CHECK: ClusterCheck = {
  id: 'installation.settings',
  title: 'the settings of the installation can be read',
  run: async (subject, signal) => {
    const settings = await subject.readSettings(signal)
    if (typeof settings === 'string') return problem(settings, 'injector and operator start with it only; pods cannot be judged here without it', 'helm upgrade the chart, or give --installation NAMESPACE when it is elsewhere')
    return ok(`namespace ${settings.namespace}, image ${settings.image}`)
  },
}

const VERSION_CHECK: ClusterCheck = {
  id: 'installation.version',
  title: 'injector, operator and this program are of one version',
  run: async (subject, signal) => {
    const [injector, operator] = [versionOf(await subject.deployment(INJECTOR, signal)), versionOf(await subject.deployment(OPERATOR, signal))]
    const others = [['injector', injector], ['operator', operator]].flatMap(([who, version]) => (version === undefined || version === subject.version ? [] : [`${who} ${version}`]))
    if (others.length === 0) return ok(subject.version)
    return note(`${others.join(', ')}; this program is ${subject.version}`, 'what is to be expected of pods is judged as this version would', 'use the steno of the same version, or upgrade the installation')
  },
}

/** @param cause keeps replicas that run from being ready, and tells of it better */
function replicas(id: string, title: string, name: typeof INJECTOR | typeof OPERATOR, why: string, cause?: ClusterCheck): ClusterCheck {
  return {
    id,
    title,
    run: async (subject, signal) => {
      const namespace = await subject.installation(signal)
      const deployment = await subject.deployment(name, signal)
      if (deployment === undefined) return problem(`there is no Deployment ${name} in ${namespace}`, why, 'helm install the chart, or give --installation NAMESPACE when it is elsewhere')
      const wanted = numberAt(deployment['spec'], 'replicas') ?? 1
      const ready = numberAt(deployment['status'], 'readyReplicas') ?? 0
      const found = `${ready} of ${wanted} replicas of ${name} in ${namespace} are ready`
      if (ready > 0 && ready >= wanted) return ok(found)
      if (ready === 0 && wanted > 0 && cause !== undefined) await seeFirst(cause, subject, signal)
      const reasons = wanted === 0 ? '' : await reasonsOf(subject, namespace, name, signal)
      if (ready > 0) return note(`${found}${reasons}`, 'the others carry all', `kubectl -n ${namespace} describe pods -l app.kubernetes.io/component=${name.slice('steno-'.length)}`)
      return problem(`${found}${reasons}`, why, wanted === 0 ? `kubectl -n ${namespace} scale deployment ${name} --replicas 2` : `kubectl -n ${namespace} describe pods -l app.kubernetes.io/component=${name.slice('steno-'.length)}`)
    },
  }
}

/** Of containers that wait; nothing where pods may not be seen. */
async function reasonsOf(subject: ClusterSubject, namespace: string, name: string, signal: AbortSignal): Promise<string> {
  const reasons = new Set<string>()
  try {
    for await (const pod of eachOf(subject.client, `/api/v1/namespaces/${namespace}/pods`, { labelSelector: `app.kubernetes.io/component=${name.slice('steno-'.length)}`, signal })) {
      const status = objectAt(pod, 'status')
      for (const each of objectsAt(status, 'containerStatuses')) {
        const reason = textAt(objectAt(objectAt(each, 'state'), 'waiting'), 'reason')
        if (reason !== undefined) reasons.add(reason)
      }
      const scheduled = objectsAt(status, 'conditions').find(each => each['type'] === 'PodScheduled')
      if (scheduled?.['status'] === 'False') reasons.add(textAt(scheduled, 'reason') ?? 'not scheduled')
    }
  } catch (error) {
    if (!(error instanceof KubeError)) throw error
  }
  return reasons.size === 0 ? '' : `: ${[...reasons].join(', ')}`
}

const VALIDITY_CHECK: ClusterCheck = { id: 'certificate.valid', title: "the injector's certificate is valid", run: checkValidity }
/** With a certificate that has ended no replica says that it is ready. */
const INJECTOR_CHECK = replicas('injector.replicas', 'the injector runs', INJECTOR, UNRECORDED, VALIDITY_CHECK)

const ENDPOINTS_CHECK: ClusterCheck = {
  id: 'injector.endpoints',
  title: "the injector's Service leads to it",
  run: async (subject, signal) => {
    const namespace = await subject.installation(signal)
    const place = `Service ${INJECTOR} of ${namespace}`
    if ((await subject.find(`/api/v1/namespaces/${namespace}/services/${INJECTOR}`, signal)) === undefined) return problem(`there is no ${place}`, UNRECORDED, 'helm upgrade the chart')
    let ready = 0
    for await (const slice of eachOf(subject.client, `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`, { labelSelector: `kubernetes.io/service-name=${INJECTOR}`, signal })) {
      ready += objectsAt(slice, 'endpoints').filter(each => objectAt(each, 'conditions')['ready'] !== false).length
    }
    if (ready > 0) return ok(`${ready} ready`)
    await seeFirst(INJECTOR_CHECK, subject, signal)
    return problem(`${place} leads to no ready pod`, UNRECORDED, `compare its selector with the labels of the pods: kubectl -n ${namespace} get pods --show-labels`)
  },
}

const WEBHOOKS_CHECK: ClusterCheck = {
  id: 'webhooks.installed',
  title: 'the API server is told to ask the injector',
  run: async (subject, signal) => {
    const configurations = await subject.configurations(signal)
    const gone = [...(configurations.mutating === undefined ? ['MutatingWebhookConfiguration'] : []), ...(configurations.validating === undefined ? ['ValidatingWebhookConfiguration'] : [])]
    const change = 'helm upgrade the chart'
    if (gone.length > 0) return problem(`there is no ${gone.join(' and no ')} ${INJECTOR}`, 'no pod gets a recorder, or none is kept out', change)
    const all = webhooksOf(configurations)
    const missing = [...MUTATING, ...VALIDATING].filter(name => !all.some(each => each['name'] === name))
    if (missing.length > 0) return problem(`no webhook ${missing.join(', ')}`, 'what they guard goes unrecorded', change)
    const lenient = all.filter(each => textAt(each, 'name')?.startsWith('strict.') === true && each['failurePolicy'] !== 'Fail').map(each => textAt(each, 'name') ?? '')
    if (lenient.length > 0) return problem(`failurePolicy of ${lenient.join(', ')} is not Fail`, 'strict namespaces let pods in unrecorded when no injector answers', change)
    return ok(`${all.length} webhooks`)
  },
}

const CERTIFICATE_CHECKS: readonly ClusterCheck[] = [
  VALIDITY_CHECK,
  { id: 'certificate.trusted', title: 'the API server trusts it', run: checkTrust },
  { id: 'injector.answers', title: 'the injector answers with it', run: checkAnswer },
]

const OPERATOR_CHECK = replicas('operator.replicas', 'the operator runs', OPERATOR, UNTENDED)

export const LEADER_CHECK: ClusterCheck = {
  id: 'operator.leader',
  title: 'a replica of the operator acts',
  run: async (subject, signal) => {
    const namespace = await subject.installation(signal)
    const lease = await subject.find(`/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${OPERATOR}`, signal)
    const spec = objectAt(lease, 'spec')
    const holder = textAt(spec, 'holderIdentity') ?? ''
    const sinceMs = subject.now() - Date.parse(textAt(spec, 'renewTime') ?? '')
    if (holder !== '' && sinceMs < STALE_MS) return ok(holder)
    await seeFirst(OPERATOR_CHECK, subject, signal)
    const change = `kubectl -n ${namespace} logs -l app.kubernetes.io/component=operator: may it read and write Leases, and does it reach the API server?`
    if (lease === undefined) return problem(`there is no Lease ${OPERATOR} in ${namespace}`, UNTENDED, change)
    if (holder === '') return problem(`nobody holds the Lease ${OPERATOR} of ${namespace}`, UNTENDED, change)
    return problem(`${holder} has not renewed the Lease ${OPERATOR} for ${Math.round(sinceMs / 1000)} s by this machine's clock`, UNTENDED, change)
  },
}

export const INSTALLATION_CHECKS: readonly ClusterCheck[] = [REACHED_CHECK, CRD_CHECK, SETTINGS_CHECK, VERSION_CHECK, INJECTOR_CHECK, ENDPOINTS_CHECK, WEBHOOKS_CHECK, ...CERTIFICATE_CHECKS, OPERATOR_CHECK, LEADER_CHECK]

/** Each of these alone keeps pods from their recorders. */
const CAUSES: readonly ClusterCheck[] = [CRD_CHECK, WEBHOOKS_CHECK, INJECTOR_CHECK, ENDPOINTS_CHECK, ...CERTIFICATE_CHECKS]

/** Why the injector cannot work, as far as that is found: the name of a check. */
export async function causeOf(subject: ClusterSubject, signal: AbortSignal): Promise<string | undefined> {
  const results = await Promise.all(CAUSES.map(async each => ({ id: each.id, result: await resultOf(each, subject, signal) })))
  return results.find(({ result }) => result?.state === 'problem')?.id
}

/** Rejects with SeeFirst when that check has found a problem, or names another. */
async function seeFirst(check: ClusterCheck, subject: ClusterSubject, signal: AbortSignal): Promise<void> {
  try {
    if ((await check.run(subject, signal)).state !== 'problem') return
  } catch (error) {
    if (error instanceof SeeFirst) throw error
    return
  }
  throw new SeeFirst(check.id)
}

/** Undefined when it could not be looked at. */
async function resultOf(check: ClusterCheck, subject: ClusterSubject, signal: AbortSignal): Promise<CheckResult | undefined> {
  try {
    return await check.run(subject, signal)
  } catch {
    return undefined
  }
}
