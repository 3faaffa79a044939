/** Restarts of the owners of pods that lack their recorder: once, one after the other, within budgets, and only when it would help. */

import { expect } from 'chai'

import { decide } from '../../src/inject/decide.ts'
import { createKubeClient, KubeError } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { numberAt, objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { createAuthority } from '../support/certificate.ts'
import { digest, policyOf, settings } from '../support/golden-pods.ts'
import { createNamespace, freePort, kubeAssets, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator } from '../support/operator-account.ts'
import { policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'
import { asInjector, installWebhooks, startWebhookFor } from '../support/webhook.ts'
import type { WebhookUnderTest } from '../support/webhook.ts'

const QUICK = { everyMs: 30, lookMs: 10, againMs: 50 }
const REPAIR = { selector: { matchLabels: { app: 'mcp' } }, repair: 'Restart' }
const MERGE = { method: 'PATCH', contentType: 'application/merge-patch+json' } as const

describe('repair, on a real API server with the real injector', function () {
  this.timeout(120_000)
  let server: ApiServer
  let account: Cluster
  let operator: OperatorUnderTest
  let policies: Policies
  let webhook: WebhookUnderTest
  let injector: Cluster
  let port: number
  const authority = createAuthority()

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    const started = await startForOperator(assets)
    server = started.server
    account = started.account
    injector = await asInjector(server)
    policies = policiesOf(server.client)
    port = await freePort()
    await serve()
    operator = await startOperatorFor(account, { repairTimes: QUICK })
    await operator.leading
  })
  after(async () => {
    await operator?.stop()
    await webhook?.stop()
    await server?.stop()
  })

  const serve = async (): Promise<void> => {
    webhook = await startWebhookFor(injector, { authority, listen: { host: '127.0.0.1', port } })
    await webhook.synced
    await installWebhooks(server.client, webhook)
  }
  const apps = (namespace: string, plural: string, name = ''): string => `/apis/apps/v1/namespaces/${namespace}/${plural}${name === '' ? '' : `/${name}`}`
  const template = { metadata: { labels: { app: 'mcp' } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1' }] } }
  /** A workload, settled as its controller would say. */
  const workload = async (namespace: string, kind: 'Deployment' | 'StatefulSet' | 'DaemonSet', name: string, spec: JsonObject = {}): Promise<void> => {
    await server.client.request(apps(namespace, `${kind.toLowerCase()}s`), { method: 'POST', body: { apiVersion: 'apps/v1', kind, metadata: { name }, spec: { selector: { matchLabels: { app: 'mcp' } }, template, ...(kind === 'StatefulSet' ? { serviceName: name } : {}), ...spec } } })
    await settle(namespace, kind, name)
    if (kind === 'Deployment') await replicaSet(namespace, `${name}-5d4f`, 'apps/v1', kind, name)
  }
  const replicaSet = async (namespace: string, name: string, apiVersion: string, kind: string, ofName: string): Promise<void> => {
    const ownerReferences = [{ apiVersion, kind, name: ofName, uid: `${kind}-${ofName}`, controller: true }]
    await server.client.request(apps(namespace, 'replicasets'), { method: 'POST', body: { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { name, ownerReferences }, spec: { selector: { matchLabels: { app: 'mcp' } }, template } } })
  }
  const settle = async (namespace: string, kind: string, name: string): Promise<void> => {
    const path = apps(namespace, `${kind.toLowerCase()}s`, name)
    const stored = await server.client.request(path)
    const replicas = numberAt(stored['spec'], 'replicas') ?? 1
    const of: Readonly<Record<string, JsonObject>> = { Deployment: { replicas, updatedReplicas: replicas, readyReplicas: replicas, availableReplicas: replicas }, StatefulSet: { replicas, readyReplicas: replicas, currentRevision: 'a', updateRevision: 'a' }, DaemonSet: { currentNumberScheduled: 1, desiredNumberScheduled: 1, numberMisscheduled: 0, numberReady: 1, updatedNumberScheduled: 1, numberAvailable: 1 } }
    await server.client.request(`${path}/status`, { ...MERGE, body: { status: { observedGeneration: numberAt(stored['metadata'], 'generation') ?? 0, ...of[kind] } } })
  }
  const owner = (kind: string, name: string): JsonObject => ({ apiVersion: kind === 'Job' ? 'batch/v1' : 'apps/v1', kind: kind === 'Deployment' ? 'ReplicaSet' : kind, name: kind === 'Deployment' ? `${name}-5d4f` : name, uid: `${kind}-${name}`, controller: true })
  const bare = (name: string, kind?: string, ofName = ''): JsonObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: 'mcp', ...(kind === 'Deployment' ? { 'pod-template-hash': '5d4f' } : {}) }, ...(kind === undefined ? {} : { ownerReferences: [owner(kind, ofName)] }) }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080, protocol: 'TCP' }] }] } })
  /** Past the injector, as a pod that was there before the policy. */
  const early = async (namespace: string, ...pods: readonly JsonObject[]): Promise<void> => {
    for (const pod of pods) await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: await owned(namespace, pod) })
  }
  /** With the uid of the ReplicaSet that it says it is of. */
  const owned = async (namespace: string, pod: JsonObject): Promise<JsonObject> => {
    const metadata = objectAt(pod, 'metadata')
    const [owner] = objectsAt(metadata, 'ownerReferences')
    if (owner?.['kind'] !== 'ReplicaSet') return pod
    const uid = textAt((await server.client.request(apps(namespace, 'replicasets', textAt(owner, 'name'))))['metadata'], 'uid') ?? ''
    return { ...pod, metadata: { ...metadata, ownerReferences: [{ ...owner, uid }] } }
  }
  const replace = async (namespace: string, pod: JsonObject): Promise<void> => {
    const name = textAt(pod['metadata'], 'name') ?? ''
    await server.client.request(`/api/v1/namespaces/${namespace}/pods/${name}?gracePeriodSeconds=0`, { method: 'DELETE' })
    const stored = policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', ...(await policies.get(namespace, 'tools')) })
    const { pod: body } = decide({ pod: await owned(namespace, pod), namespace: { name: namespace, labels: {}, annotations: {} }, policies: [stored], settings: settings(), oldestNodeMinor: 34, digest })
    await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body })
  }
  const stampOf = async (namespace: string, plural: string, name: string): Promise<string | undefined> => textsAt(objectAt(objectAt(await server.client.request(apps(namespace, plural, name)), 'spec'), 'template')['metadata'], 'annotations')['steno.dev/repaired-for']
  const restarts = (namespace: string): readonly string[] => operator.writes.filter(each => each.includes(`/apis/apps/v1/namespaces/${namespace}/`)).map(each => each.replace(/.*\//, ''))

  it('restarts a Deployment once, tells it by an Event, and is done when its pods have their recorder', async () => {
    await createNamespace(server.client, 'web')
    await workload('web', 'Deployment', 'web')
    await early('web', bare('web-1', 'Deployment', 'web'))
    await policies.put('web', 'tools', REPAIR)
    expect(await policies.says('web', 'tools', 'RepairReady', 'Restarting')).to.equal('Pods are being made anew: Deployment web.')
    expect(await stampOf('web', 'deployments', 'web')).to.match(/^[0-9a-f]{16}$/)
    const events = async (): Promise<readonly JsonObject[]> => objectsAt(await server.client.request('/apis/events.k8s.io/v1/namespaces/web/events'), 'items')
    await until(async () => (await events()).some(each => each['reason'] === 'RestartedForRecording' && textAt(each['regarding'], 'kind') === 'Deployment'))
    await replace('web', bare('web-1', 'Deployment', 'web'))
    await settle('web', 'Deployment', 'web')
    await policies.says('web', 'tools', 'RepairReady', 'UpToDate')
    await policies.says('web', 'tools', 'Ready', 'Ready')
    expect(restarts('web')).to.deep.equal(['web'])
  })

  it('does not restart again what came out without a recorder again, says so, and tries anew for another generation of the policy', async () => {
    await createNamespace(server.client, 'vain')
    await workload('vain', 'StatefulSet', 'db')
    await early('vain', bare('db-0', 'StatefulSet', 'db'))
    await policies.put('vain', 'tools', REPAIR)
    await policies.says('vain', 'tools', 'RepairReady', 'Restarting')
    await settle('vain', 'StatefulSet', 'db')
    expect(await policies.says('vain', 'tools', 'RepairReady', 'RestartedInVain')).to.match(/^StatefulSet db: restarted once .*not done again/)
    await policies.says('vain', 'tools', 'Ready', 'PodsMissing')
    expect(restarts('vain')).to.deep.equal(['db'])
    await policies.put('vain', 'tools', { ...REPAIR, onFailure: 'Allow' })
    await until(async () => restarts('vain').length === 2)
  })

  /** Changes the template, as its manager would, and takes off what others wrote there. */
  const putBack = async (namespace: string, name: string): Promise<void> => void (await server.client.request(apps(namespace, 'statefulsets', name), { ...MERGE, body: { spec: { template: { metadata: { annotations: { 'steno.dev/repaired-for': null, 'example.com/put-back': 'true' } } } } } }))

  it('restarts once in vain, not by turns, what two policies select', async () => {
    await createNamespace(server.client, 'two')
    await workload('two', 'StatefulSet', 'db')
    await early('two', bare('db-0', 'StatefulSet', 'db'))
    await putBack('two', 'db')
    await policies.put('two', 'tools', REPAIR)
    await policies.put('two', 'more', REPAIR)
    for (const name of ['tools', 'more']) await policies.says('two', name, 'RepairReady', 'Waiting')
    await settle('two', 'StatefulSet', 'db')
    // Made, put back, restarted. An attempt that met another's counts for nothing.
    const generation = async (): Promise<number | undefined> => numberAt((await server.client.request(apps('two', 'statefulsets', 'db')))['metadata'], 'generation')
    await until(async () => (await generation()) === 3)
    await settle('two', 'StatefulSet', 'db')
    for (const name of ['tools', 'more']) await policies.says('two', name, 'RepairReady', 'RestartedInVain')
    expect(await generation()).to.equal(3)
  })

  it('does not restart again in vain where somebody takes the annotation off the template', async () => {
    await createNamespace(server.client, 'managed')
    await workload('managed', 'StatefulSet', 'db')
    await early('managed', bare('db-0', 'StatefulSet', 'db'))
    await policies.put('managed', 'tools', REPAIR)
    await policies.says('managed', 'tools', 'RepairReady', 'Restarting')
    await putBack('managed', 'db')
    await policies.says('managed', 'tools', 'RepairReady', 'Waiting')
    await settle('managed', 'StatefulSet', 'db')
    await policies.says('managed', 'tools', 'RepairReady', 'RestartedInVain')
    expect(restarts('managed')).to.deep.equal(['db'])
  })

  it('goes from one owner to the next when the first has come back', async () => {
    await createNamespace(server.client, 'turns')
    for (const name of ['a', 'b']) {
      await workload('turns', 'DaemonSet', name)
      await early('turns', bare(`${name}-1`, 'DaemonSet', name))
    }
    await policies.put('turns', 'tools', REPAIR)
    expect(await policies.says('turns', 'tools', 'RepairReady', 'Restarting')).to.include('1 more owners follow')
    expect(restarts('turns')).to.deep.equal(['a'])
    await replace('turns', bare('a-1', 'DaemonSet', 'a'))
    await settle('turns', 'DaemonSet', 'a')
    await until(async () => restarts('turns').length === 2)
    expect(restarts('turns')).to.deep.equal(['a', 'b'])
  })

  it('keeps within a PodDisruptionBudget', async () => {
    await createNamespace(server.client, 'budget')
    const path = '/apis/policy/v1/namespaces/budget/poddisruptionbudgets'
    await server.client.request(path, { method: 'POST', body: { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name: 'all' }, spec: { maxUnavailable: 1, selector: { matchLabels: { app: 'mcp' } } } } })
    const allow = async (disruptionsAllowed: number): Promise<void> => void (await server.client.request(`${path}/all/status`, { ...MERGE, body: { status: { disruptionsAllowed, currentHealthy: 4, desiredHealthy: 3, expectedPods: 4, observedGeneration: 1 } } }))
    await allow(1)
    await workload('budget', 'Deployment', 'web', { replicas: 4, strategy: { rollingUpdate: { maxUnavailable: '50%' } } })
    await early('budget', bare('web-1', 'Deployment', 'web'))
    await policies.put('budget', 'tools', REPAIR)
    expect(await policies.says('budget', 'tools', 'RepairReady', 'Waiting')).to.include('takes 2 pods away at once, and PodDisruptionBudget all allows 1')
    expect(restarts('budget')).to.deep.equal([])
    await allow(2)
    await until(async () => restarts('budget').length === 1)
  })

  it('never restarts Jobs, pods that stand alone, what is paused or replaces its pods only by hand, and says so', async () => {
    await createNamespace(server.client, 'left')
    await workload('left', 'Deployment', 'still', { paused: true })
    await workload('left', 'DaemonSet', 'manual', { updateStrategy: { type: 'OnDelete' } })
    await early('left', bare('alone'), bare('job-1', 'Job', 'job'), bare('still-1', 'Deployment', 'still'), bare('manual-1', 'DaemonSet', 'manual'))
    await policies.put('left', 'tools', REPAIR)
    expect(await policies.says('left', 'tools', 'RepairReady', 'LeftAlone')).to.match(/: DaemonSet manual replaces .*; Deployment still is paused; Job job; and 1 more/)
    expect(restarts('left')).to.deep.equal([])
  })

  it('follows a ReplicaSet to what it belongs to, and leaves alone by its name what is no Deployment', async () => {
    await createNamespace(server.client, 'argo')
    // A Deployment of the same name, as Argo leaves one behind whose template it took over.
    await server.client.request(apps('argo', 'deployments'), { method: 'POST', body: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, spec: { replicas: 0, selector: { matchLabels: { app: 'mcp' } }, template } } })
    await settle('argo', 'Deployment', 'web')
    await replicaSet('argo', 'web-5d4f', 'argoproj.io/v1alpha1', 'Rollout', 'web')
    await early('argo', bare('web-1', 'Deployment', 'web'))
    await policies.put('argo', 'tools', REPAIR)
    expect(await policies.says('argo', 'tools', 'RepairReady', 'LeftAlone')).to.include('never restarted: Rollout web (argoproj.io).')
    expect(restarts('argo')).to.deep.equal([])
  })

  it('gets to everyone where more owners are stuck than it looks at in one go', async () => {
    await createNamespace(server.client, 'many')
    const stuck = Array.from({ length: 22 }, (_, index) => `a-${String(index).padStart(2, '0')}`)
    for (const name of stuck) {
      await workload('many', 'DaemonSet', name)
      await server.client.request(`${apps('many', 'daemonsets', name)}/status`, { ...MERGE, body: { status: { numberAvailable: 0 } } })
      await early('many', bare(`${name}-1`, 'DaemonSet', name))
    }
    await workload('many', 'StatefulSet', 'z')
    await early('many', bare('z-0', 'StatefulSet', 'z'))
    await policies.put('many', 'tools', REPAIR)
    await until(async () => restarts('many').length === 1)
    expect(restarts('many')).to.deep.equal(['z'])
    // The restart was asked for; what is settled before it is done would be of the generation before.
    await policies.says('many', 'tools', 'RepairReady', 'Restarting')
    await settle('many', 'StatefulSet', 'z')
    expect(await policies.says('many', 'tools', 'RepairReady', 'RestartedInVain')).to.match(/^StatefulSet z: /)
  })

  it('restarts nothing while a dry run comes out without a recorder', async () => {
    await webhook.stop()
    await createNamespace(server.client, 'unproved')
    await workload('unproved', 'Deployment', 'web')
    await early('unproved', bare('web-1', 'Deployment', 'web'))
    await policies.put('unproved', 'tools', REPAIR)
    expect(await policies.says('unproved', 'tools', 'RepairReady', 'PathNotProved')).to.include('without a recorder again')
    expect(restarts('unproved')).to.deep.equal([])
    await serve()
    await until(async () => restarts('unproved').length === 1)
  })

  it('leaves workloads alone where a policy does not ask for it', async () => {
    await createNamespace(server.client, 'report')
    await workload('report', 'Deployment', 'web')
    await early('report', bare('web-1', 'Deployment', 'web'))
    await policies.put('report', 'tools', { ...REPAIR, repair: 'Report' })
    await policies.says('report', 'tools', 'Injected', 'PodsMissing')
    await policies.says('report', 'tools', 'RepairReady', 'NotAsked')
    expect(restarts('report')).to.deep.equal([])
  })

  it('the operator itself may change no more of a workload than that annotation', async () => {
    const client = createKubeClient(account)
    const change = async (spec: Json): Promise<string> => {
      const error = await client.request(apps('report', 'deployments', 'web'), { method: 'PATCH', contentType: 'application/strategic-merge-patch+json', body: { spec } }).catch((reason: unknown) => reason)
      return error instanceof KubeError ? error.message : 'allowed'
    }
    const no = /no more of a workload than the annotation/
    expect(await change({ template: { spec: { containers: [{ name: 'server', image: 'evil' }] } } })).to.match(no)
    expect(await change({ replicas: 0 })).to.match(no)
    expect(await change({ template: { metadata: { annotations: { 'example.com/a': 'b' } } } })).to.match(no)
    expect(await change({ template: { metadata: { annotations: { 'steno.dev/repaired-for': 'x' } } } })).to.equal('allowed')
    await client.close()
  })

  it('says what to do where the installation does not permit it', async () => {
    const rolePath = '/apis/rbac.authorization.k8s.io/v1/clusterroles/steno-operator'
    const role = await server.client.request(rolePath)
    await server.client.request(rolePath, { method: 'PUT', body: { ...role, rules: objectsAt(role, 'rules').filter(rule => !JSON.stringify(rule).includes('deployments')) } })
    await createNamespace(server.client, 'forbidden')
    await workload('forbidden', 'Deployment', 'web')
    await early('forbidden', bare('web-1', 'Deployment', 'web'))
    await policies.put('forbidden', 'tools', REPAIR)
    expect(await policies.says('forbidden', 'tools', 'RepairReady', 'Forbidden')).to.include('operator.repair.enabled=true')
  })
})
