import { request } from 'node:https'

import { expect } from 'chai'

import { decide } from '../../src/inject/decide.ts'
import { KubeError } from '../../src/kube/client.ts'
import { objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { podCases, policyOf } from '../support/golden-pods.ts'
import type { PodCase } from '../support/golden-pods.ts'
import { createNamespace, createNode, installCrd, kubeAssets, nameOf, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { asInjector, installWebhooks, startWebhookFor, withoutDefaults } from '../support/webhook.ts'
import type { WebhookUnderTest } from '../support/webhook.ts'

/** Not for an API server as it is here: shapes it refuses, nodes that it does not have. */
function canBeCreated({ name, input }: PodCase): boolean {
  return input.oldestNodeMinor === 34 && !['malformed-ports', 'no-containers', 'mirror', 'deleting', 'own-namespace', 'unknown-fields', 'name-clash', 'istio', 'same-name-udp', 'native-sidecar-server'].includes(name)
}

describe('injection, through a real API server', function () {
  this.timeout(120_000)
  let server: ApiServer
  let webhook: WebhookUnderTest

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
    webhook = await startWebhookFor(await asInjector(server))
    await webhook.synced
    await installWebhooks(server.client, webhook)
    await until(async () => await isAsked('warm-up'))
  })
  after(async () => {
    await webhook?.stop()
    await server?.stop()
  })

  const create = async (namespace: string, pod: JsonObject, query = ''): Promise<JsonObject> => await server.client.request(`/api/v1/namespaces/${namespace}/pods${query}`, { method: 'POST', body: pod })
  const addPolicy = async (namespace: string, spec: Json, name = 'tools'): Promise<void> => {
    await server.client.request(`/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies`, { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name }, spec } })
    // The webhook has its copy a moment later.
    await until(async () => textsAt((await create(namespace, simplePod('probe'), '?dryRun=All'))['metadata'], 'labels')['steno.dev/recorded'] === 'true')
  }
  /** A list of the pod's spec, without what the API server fills in. */
  const ours = (made: JsonObject, list: string, wanted: JsonObject): Json => withoutDefaults(objectAt(made, 'spec')[list], objectAt(wanted, 'spec')[list]) ?? []
  const isAsked = async (namespace: string): Promise<boolean> => {
    await createNamespace(server.client, namespace).catch((error: unknown) => {
      if (!(error instanceof KubeError && error.status === 409)) throw error
    })
    const before = await webhook.metrics()
    await create(namespace, simplePod('probe'), '?dryRun=All')
    return (await webhook.metrics()) !== before
  }
  const simplePod = (name: string): JsonObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }] }] } })

  for (const [index, each] of podCases().filter(each => canBeCreated(each) && !each.ownSettings).entries()) {
    it(`golden pod ${each.name} comes out as decide() says, and asking again changes nothing`, async () => {
      const name = `golden-${index}`
      const { labels, annotations } = each.input.namespace
      await createNamespace(server.client, name, { labels, annotations })
      for (const policy of each.policies) await server.client.request(`/apis/steno.dev/v1alpha1/namespaces/${name}/sessionpolicies`, { method: 'POST', body: { ...policy, metadata: { name: nameOf(policy) } } })
      const policies = objectsAt(await server.client.request(`/apis/steno.dev/v1alpha1/namespaces/${name}/sessionpolicies`), 'items').map(stored => policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', ...stored }))
      const input = { ...each.input, namespace: { name, labels, annotations }, policies }
      const { pod: wanted } = decide(input)
      const mark = (pod: JsonObject): string | undefined => textsAt(pod['metadata'], 'annotations')['steno.dev/injected']
      const account = textAt(objectAt(wanted, 'spec'), 'serviceAccountName')
      if (account !== undefined) await server.client.request(`/api/v1/namespaces/${name}/serviceaccounts`, { method: 'POST', body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: account } } })

      let made = await create(name, each.input.pod, '?dryRun=All')
      await until(async () => {
        made = await create(name, each.input.pod, '?dryRun=All')
        return mark(made) === mark(wanted)
      })

      for (const list of ['containers', 'initContainers']) expect(ours(made, list, wanted), list).to.deep.equal(objectAt(wanted, 'spec')[list] ?? [])
      // The app's API token is nowhere in the recorder, and what the API server has filled in does not look like a change.
      const recorder = ['containers', 'initContainers'].flatMap(list => objectsAt(made['spec'], list)).find(container => container['name'] === 'steno-recorder')
      expect(objectsAt(recorder, 'volumeMounts').filter(mount => String(mount['name']).startsWith('kube-api-access'))).to.deep.equal([])
      expect(decide({ ...input, pod: made }).patch).to.deep.equal([])
    })
  }

  it('admits a recorded pod to a restricted namespace', async () => {
    await createNamespace(server.client, 'restricted', { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } })
    const restricted = { runAsNonRoot: true, runAsUser: 1000, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } }
    const pod = { ...simplePod('probe'), spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }], securityContext: restricted }] } }
    await server.client.request('/apis/steno.dev/v1alpha1/namespaces/restricted/sessionpolicies', { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools' }, spec: { selector: {} } } })
    await until(async () => textsAt((await create('restricted', pod, '?dryRun=All'))['metadata'], 'labels')['steno.dev/recorded'] === 'true')
    expect(objectsAt(objectAt(await create('restricted', pod), 'spec'), 'initContainers').map(each => each['name'])).to.deep.equal(['steno-recorder'])
  })

  it('leaves the recorder the limit of CPU that a LimitRange gives it, so that a quota which counts limits admits the pod', async () => {
    await createNamespace(server.client, 'counted', { labels: { 'steno.dev/strict': 'true' } })
    await addPolicy('counted', { selector: {} })
    const path = '/api/v1/namespaces/counted/resourcequotas'
    const hard = { 'limits.cpu': '4' }
    const quota = await server.client.request(path, { method: 'POST', body: { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'cpu' }, spec: { hard } } })
    // As the controller does, which is not there.
    await server.client.request(`${path}/cpu/status`, { method: 'PUT', body: { ...quota, status: { hard, used: { 'limits.cpu': '0' } } } })
    const limited = { ...simplePod('probe'), spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }], resources: { limits: { cpu: '1' } } }] } }
    const refusal = async (): Promise<string> => await create('counted', limited, '?dryRun=All').then(() => '', (error: unknown) => String(error))
    await until(async () => (await refusal()).includes('must specify limits.cpu for: steno-recorder'))
    await server.client.request('/api/v1/namespaces/counted/limitranges', { method: 'POST', body: { apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'cpu' }, spec: { limits: [{ type: 'Container', default: { cpu: '500m' } }] } } })
    await until(async () => (await refusal()) === '')
    const made = await create('counted', limited)
    expect(objectAt(objectAt(objectsAt(made['spec'], 'initContainers')[0], 'resources'), 'limits')).to.include({ cpu: '500m' })
  })

  it('tells the owner by an Event, once, and nobody in a dry run', async () => {
    await createNamespace(server.client, 'events')
    await addPolicy('events', { selector: {} })
    const owned = (name: string, uid: string): JsonObject => ({ ...simplePod(name), metadata: { generateName: `${name}-`, ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid, controller: true }] } })
    await create('events', owned('dry', '1'), '?dryRun=All')
    await create('events', owned('web', '2'))
    await create('events', owned('web', '2'))
    await create('events', { ...owned('blind', '3'), spec: { containers: [{ name: 'server', image: 'x' }] } })
    const events = async (): Promise<readonly JsonObject[]> => objectsAt(await server.client.request('/apis/events.k8s.io/v1/namespaces/events/events'), 'items')
    await until(async () => (await events()).length >= 2)
    const told = (await events()).map(each => [textAt(each['regarding'], 'name'), each['reason'], each['type']]).toSorted()
    expect(told).to.deep.equal([['blind', 'InjectionSkipped', 'Warning'], ['web', 'Injected', 'Normal']])
    expect((await events()).map(each => each['note']).join()).to.include('no-port: No port to record')
  })

  it('refuses in a strict namespace what cannot be recorded, and lets in what is', async () => {
    await createNamespace(server.client, 'strict', { labels: { 'steno.dev/strict': 'true' } })
    await addPolicy('strict', { selector: { matchExpressions: [{ key: 'free', operator: 'DoesNotExist' }] } })
    expect(textsAt((await create('strict', simplePod('recorded')))['metadata'], 'labels')['steno.dev/recorded']).to.equal('true')
    const refusal = await create('strict', { ...simplePod('mute'), spec: { containers: [{ name: 'server', image: 'x' }] } }).catch((error: unknown) => error)
    expect(refusal).to.be.instanceOf(KubeError).with.property('message').that.matches(/demands recording\. No port to record: name the port/)
    expect(textsAt((await create('strict', { ...simplePod('free'), metadata: { name: 'free', labels: { free: 'yes' } } }))['metadata'], 'labels')).to.deep.equal({ free: 'yes' })
  })

  it('warns the one who creates a pod that is not recorded, and the one who writes a policy for everything', async () => {
    await createNamespace(server.client, 'warned')
    const warnings = async (path: string, body: JsonObject): Promise<string> => {
      const { cluster } = server
      return await new Promise((resolve, reject) => {
        void cluster.token().then(token => {
          const asked = request(new URL(path, cluster.server), { method: 'POST', ...(cluster.ca === undefined ? {} : { ca: cluster.ca }), headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } }, answer => {
            answer.resume()
            answer.on('end', () => resolve(String(answer.headers['warning'])))
          })
          asked.on('error', reject)
          asked.end(JSON.stringify(body))
        }, reject)
      })
    }
    expect(await warnings('/apis/steno.dev/v1alpha1/namespaces/warned/sessionpolicies', { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'all' }, spec: { selector: {} } })).to.include('selects every pod')
    await until(async () => textsAt((await create('warned', simplePod('probe'), '?dryRun=All'))['metadata'], 'labels')['steno.dev/recorded'] === 'true')
    expect(await warnings('/api/v1/namespaces/warned/pods?dryRun=All', { ...simplePod('mute'), spec: { hostNetwork: true, containers: [{ name: 'server', image: 'x' }] } })).to.include('not recorded (host-network)')
  })

  it('decides at once on pods of a namespace that was made a moment ago, from a live read', async () => {
    for (let index = 0; index < 20; index++) {
      const namespace = `fresh-${index}`
      await createNamespace(server.client, namespace)
      await server.client.request(`/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies`, { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools' }, spec: { selector: {} } } })
    }
    const pods = await Promise.all(Array.from({ length: 20 }, async (_, index) => await create(`fresh-${index}`, simplePod('server'))))
    expect(pods.every(pod => textsAt(pod['metadata'], 'labels')['steno.dev/recorded'] === 'true')).to.equal(true)
  })

  it('counts what it decided, by reasons of the closed set', async () => {
    const metrics = await webhook.metrics()
    expect(metrics).to.match(/steno_injections_total\{decision="inject",reason="injected"\} [1-9]/)
    expect(metrics).to.match(/steno_injections_total\{decision="skip",reason="host-network"\} [1-9]/)
    expect(metrics).to.match(/steno_certificate_expiry_seconds [1-9]/)
    expect(metrics).to.match(/steno_cache_blind_seconds\{objects="policies"\} 0\n/)
  })
})
