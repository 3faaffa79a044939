/**
 * A leader is killed before or after one of its calls that leave a trace, whichever; the next one ends in the same state, with nothing orphaned and nothing done twice.
 * `STENO_SCHEDULES=200` tries more of them.
 */

import { expect } from 'chai'
import fc from 'fast-check'

import { decide } from '../../src/inject/decide.ts'
import { KubeError } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { numberAt, objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { digest, policyOf, settings } from '../support/golden-pods.ts'
import { createNamespace, kubeAssets, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator } from '../support/operator-account.ts'
import { policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'
import { asInjector, installWebhooks, startWebhookFor } from '../support/webhook.ts'
import type { WebhookUnderTest } from '../support/webhook.ts'

const LEASE = '/apis/coordination.k8s.io/v1/namespaces/steno-system/leases/steno-operator'
const SCHEDULES = Number(process.env['STENO_SCHEDULES'] ?? 10)
const SECONDS_EACH = 12
/** What is true in the end, of a policy with one pod that is recorded, and one that is not and whose owner is to be restarted. */
const IN_THE_END = { PolicyReady: 'Compiled', PathReady: 'Proved', RepairReady: 'Restarting', AccessReady: 'Granted', NetworkReady: 'Closed', Injected: 'PodsMissing', Ready: 'PodsMissing' }
const OBJECTS = { '/api/v1/namespaces/NS/configmaps': 1, '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/roles': 2, '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings': 2, '/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies': 1 }
/** A run without a death makes about so many calls that leave a trace. */
const CALLS = 24

describe('a leader that is killed, on a real API server with the real injector', function () {
  this.timeout(60_000 + SCHEDULES * SECONDS_EACH * 1000)
  let server: ApiServer
  let account: Cluster
  let webhook: WebhookUnderTest
  let policies: Policies

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    const started = await startForOperator(assets)
    server = started.server
    account = started.account
    webhook = await startWebhookFor(await asInjector(server))
    await webhook.synced
    await installWebhooks(server.client, webhook)
    policies = policiesOf(server.client)
  })
  after(async () => {
    await webhook?.stop()
    await server?.stop()
  })

  const pod = (name: string, metadata: JsonObject = {}): JsonObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080, protocol: 'TCP' }] }] } })
  const deployment = (namespace: string): string => `/apis/apps/v1/namespaces/${namespace}/deployments/web`
  const prepare = async (namespace: string): Promise<void> => {
    await createNamespace(server.client, namespace)
    const labels = { app: 'web', 'pod-template-hash': '5d4f' }
    await server.client.request(`/apis/apps/v1/namespaces/${namespace}/deployments`, { method: 'POST', body: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, spec: { selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1' }] } } } } })
    await server.client.request(`${deployment(namespace)}/status`, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { status: { observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 } } })
    const replicaSet = { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { name: 'web-5d4f', ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'web', controller: true }] }, spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: 'server', image: 'example/mcp:1' }] } } } }
    const made = await server.client.request(`/apis/apps/v1/namespaces/${namespace}/replicasets`, { method: 'POST', body: replicaSet })
    // There before the policy, so that it has no recorder.
    await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: pod('web-1', { labels, ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-5d4f', uid: textAt(made['metadata'], 'uid') ?? '', controller: true }] }) })
    await policies.put(namespace, 'tools', { selector: {}, unrecorded: 'Refuse', repair: 'Restart', access: { connect: [{ group: 'developers' }], view: [{ group: 'auditors' }] } })
    const stored = policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', ...(await policies.get(namespace, 'tools')) })
    const { pod: recorded } = decide({ pod: pod('a'), namespace: { name: namespace, labels: {}, annotations: {} }, policies: [stored], settings: settings(), oldestNodeMinor: 34, digest })
    await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: recorded })
  }
  /** From then on it reaches nobody, as a process that was killed. */
  const kill = async (operator: OperatorUnderTest): Promise<never> => {
    operator.before = async () => await Promise.reject(new KubeError(0, 'Dead', 'killed'))
    return await Promise.reject(new KubeError(0, 'Dead', 'killed'))
  }
  const start = async (): Promise<OperatorUnderTest> => await startOperatorFor(account, { repairTimes: { everyMs: 20, lookMs: 10, againMs: 50 } })

  it(`before or after any of its calls leaves nothing that the next does not put right (${SCHEDULES} schedules)`, async () => {
    let number = 0
    let killed = 0
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: CALLS }), fc.boolean(), async (nth, afterwards) => {
        const namespace = `killed-${number++}`
        const first = await start()
        const dead = Promise.withResolvers<void>()
        let seen = 0
        first[afterwards ? 'after' : 'before'] = async (path, { method = 'GET' }) => {
          if (method === 'GET' || !new RegExp(`/namespaces/${namespace}(?:[/?]|$)`).test(path) || seen++ !== nth) return
          killed++
          dead.resolve()
          await kill(first)
        }
        await first.leading
        await prepare(namespace)
        await Promise.race([dead.promise, policies.says(namespace, 'tools', 'RepairReady', 'Restarting').catch(() => {})])
        const stopped = first.stop()
        await server.client.request(LEASE, { method: 'DELETE' }).catch(() => {})
        const second = await start()
        for (const [type, reason] of Object.entries(IN_THE_END)) await policies.says(namespace, 'tools', type, reason)
        for (const [collection, count] of Object.entries(OBJECTS)) await until(async () => objectsAt(await server.client.request(collection.replace('NS', namespace)), 'items').length === count, 5000)
        const conditions = objectsAt(objectAt(await policies.get(namespace, 'tools'), 'status'), 'conditions')
        // Of roles in AWS nothing is asked here.
        expect(conditions.map(each => String(each['type']))).to.include.members(Object.keys(IN_THE_END))
        expect(new Set(conditions.map(each => each['type'])).size).to.equal(conditions.length)
        expect(textsAt((await server.client.request(`/api/v1/namespaces/${namespace}`))['metadata'], 'labels')['steno.dev/strict']).to.equal('true')
        expect(numberAt((await server.client.request(deployment(namespace)))['metadata'], 'generation'), 'restarts').to.equal(2)
        expect(objectsAt(await server.client.request(`/api/v1/namespaces/${namespace}/pods`), 'items')).to.have.length(2)
        await stopped
        await second.stop()
      }),
      { numRuns: SCHEDULES },
    )
    expect(killed).to.be.greaterThan(SCHEDULES / 3)
  })
})
