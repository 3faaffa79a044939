/** What the operator does about pods: who may reach them, which port is closed, which are recorded. */

import { expect } from 'chai'
import fc from 'fast-check'

import { decide } from '../../src/inject/decide.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { openRanges } from '../../src/operator/network/decide.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { fuzzRuns } from '../support/fuzz-runs.ts'
import { digest, policyOf, settings } from '../support/golden-pods.ts'
import { createNamespace, kubeAssets, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator } from '../support/operator-account.ts'
import { found, policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

describe('operator and pods, on a real API server', function () {
  this.timeout(120_000)
  let server: ApiServer
  let account: Cluster
  let operator: OperatorUnderTest
  let policies: Policies

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    const started = await startForOperator(assets)
    server = started.server
    account = started.account
    operator = await startOperatorFor(account)
    await operator.leading
    policies = policiesOf(server.client)
  })
  after(async () => {
    await operator?.stop()
    await server?.stop()
  })

  const path = (namespace: string, kind: string, name = ''): string => `/${{ pods: 'api/v1', roles: 'apis/rbac.authorization.k8s.io/v1', rolebindings: 'apis/rbac.authorization.k8s.io/v1', networkpolicies: 'apis/networking.k8s.io/v1' }[kind] ?? ''}/namespaces/${namespace}/${kind}${name === '' ? '' : `/${name}`}`
  const plain = (name: string, ports: Json = [{ name: 'mcp', containerPort: 8080, protocol: 'TCP' }]): JsonObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: 'mcp' } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports }] } })
  const create = async (namespace: string, pod: JsonObject): Promise<void> => void (await server.client.request(path(namespace, 'pods'), { method: 'POST', body: pod }))
  const remove = async (namespace: string, kind: string, name: string): Promise<void> => void (await server.client.request(`${path(namespace, kind, name)}?gracePeriodSeconds=0`, { method: 'DELETE' }))
  /** The pod as the injector would make it now. */
  const recorded = async (namespace: string, policy: string, pod: JsonObject): Promise<JsonObject> => {
    const stored = policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', ...(await policies.get(namespace, policy)) })
    return decide({ pod, namespace: { name: namespace, labels: {}, annotations: {} }, policies: [stored], settings: settings(), oldestNodeMinor: 34, digest }).pod
  }
  const counts = async (namespace: string, name = 'tools'): Promise<JsonObject> => objectAt(objectAt(await policies.get(namespace, name), 'status'), 'pods')
  const may = async (group: string, namespace: string, verb: string, name: string, subresource = 'portforward', [api, resource] = ['', 'pods']): Promise<boolean> => {
    const review = await server.client.request('/apis/authorization.k8s.io/v1/subjectaccessreviews', { method: 'POST', body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: { user: 'someone', groups: [group], resourceAttributes: { namespace, verb, group: api ?? '', resource: resource ?? '', subresource, ...(name === '' ? {} : { name }) } } } })
    return objectAt(review, 'status')['allowed'] === true
  }

  it('lets those it names reach exactly the recorded pods, as they come and go', async () => {
    await createNamespace(server.client, 'access')
    const spec = { selector: { matchLabels: { app: 'mcp' } }, access: { connect: [{ group: 'developers' }, { user: 'jürgen@example.com' }] } }
    await policies.put('access', 'tools', spec)
    await policies.says('access', 'tools', 'AccessReady', 'Granted')
    // A rule without names would let them reach every pod.
    expect((await server.client.request(path('access', 'roles', 'steno-connect-tools')))['rules'] ?? []).to.deep.equal([])
    await create('access', await recorded('access', 'tools', plain('a')))
    await create('access', plain('bare'))
    await until(async () => await may('developers', 'access', 'create', 'a'))
    expect(await Promise.all([may('developers', 'access', 'get', 'a', ''), may('developers', 'access', 'create', 'a', 'proxy'), may('developers', 'access', 'create', 'bare'), may('developers', 'access', 'create', 'a', 'exec'), may('developers', 'access', 'list', '', ''), may('others', 'access', 'create', 'a')])).to.deep.equal([true, true, false, false, false, false])
    await create('access', await recorded('access', 'tools', plain('b')))
    await until(async () => await may('developers', 'access', 'create', 'b'))
    await remove('access', 'pods', 'a')
    await until(async () => !(await may('developers', 'access', 'create', 'a')))
    await policies.put('access', 'tools', { selector: { matchLabels: { app: 'mcp' } } })
    await policies.says('access', 'tools', 'AccessReady', 'NotAsked')
    expect(await found(server.client, path('access', 'roles', 'steno-connect-tools'))).to.equal(undefined)
    expect(await found(server.client, path('access', 'rolebindings', 'steno-connect-tools'))).to.equal(undefined)
  })

  it('lets those of access.view see the recordings of that policy, and nothing else', async () => {
    await createNamespace(server.client, 'view')
    await policies.put('view', 'tools', { selector: {}, access: { view: [{ group: 'auditors' }] } })
    await policies.put('view', 'others', { selector: {} })
    expect(await policies.says('view', 'tools', 'AccessReady', 'Granted')).to.equal('1 may see its recordings.')
    const sees = async (group: string, name: string, verb = 'get', subresource = 'recordings'): Promise<boolean> => await may(group, 'view', verb, name, subresource, ['steno.dev', 'sessionpolicies'])
    await until(async () => await sees('auditors', 'tools'))
    expect(await Promise.all([sees('auditors', 'others'), sees('auditors', ''), sees('developers', 'tools'), sees('auditors', 'tools', 'delete'), sees('auditors', 'tools', 'get', ''), may('auditors', 'view', 'get', 'a', '')])).to.deep.equal([false, false, false, false, false, false])
    await policies.put('view', 'tools', { selector: {}, access: { connect: [{ group: 'developers' }] } })
    await until(async () => !(await sees('auditors', 'tools')))
    await until(async () => (await found(server.client, path('view', 'roles', 'steno-view-tools'))) === undefined)
    expect(await policies.says('view', 'tools', 'AccessReady', 'Granted')).to.equal('1 subjects may reach the recorded pods of this policy.')
  })

  it('takes back what somebody added to its Role, and makes a binding anew that leads elsewhere, with one write each', async () => {
    await createNamespace(server.client, 'widened')
    await policies.put('widened', 'tools', { selector: {}, access: { connect: [{ group: 'developers' }] } })
    await create('widened', await recorded('widened', 'tools', plain('a')))
    await until(async () => await may('developers', 'widened', 'create', 'a'))
    await policies.says('widened', 'tools', 'Ready', 'Ready')
    operator.writes.length = 0
    const role = path('widened', 'roles', 'steno-connect-tools')
    await server.client.request(role, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['*'] }] } })
    await until(async () => objectsAt(await server.client.request(role), 'rules').length === 3)
    expect(operator.writes).to.deep.equal([`PATCH ${role}`])
    const binding = path('widened', 'rolebindings', 'steno-connect-tools')
    const stored = await server.client.request(binding)
    await remove('widened', 'rolebindings', 'steno-connect-tools')
    await until(async () => textAt(objectAt((await found(server.client, binding)) ?? {}, 'roleRef'), 'name') === 'steno-connect-tools')
    await remove('widened', 'rolebindings', 'steno-connect-tools')
    const elsewhere = async (): Promise<boolean> => {
      try {
        await server.client.request(path('widened', 'rolebindings'), { method: 'POST', body: { ...stored, metadata: { ...objectAt(stored, 'metadata'), resourceVersion: undefined, uid: undefined, managedFields: undefined }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' } } })
        return true
      } catch {
        // The operator was quicker.
        await remove('widened', 'rolebindings', 'steno-connect-tools')
        return false
      }
    }
    await until(elsewhere)
    await until(async () => textAt(objectAt((await found(server.client, binding)) ?? {}, 'roleRef'), 'name') === 'steno-connect-tools')
  })

  it('says it clearly when the cluster does not let the operator grant what it does not hold', async () => {
    const rolePath = '/apis/rbac.authorization.k8s.io/v1/clusterroles/steno-operator'
    const role = await server.client.request(rolePath)
    const without = { ...role, rules: objectsAt(role, 'rules').filter(rule => !JSON.stringify(rule).includes('pods/proxy')) }
    await server.client.request(rolePath, { method: 'PUT', body: without })
    await createNamespace(server.client, 'refused')
    await policies.put('refused', 'tools', { selector: {} })
    await policies.says('refused', 'tools', 'Ready', 'Ready')
    await create('refused', await recorded('refused', 'tools', plain('a')))
    await policies.put('refused', 'tools', { selector: {}, access: { connect: [{ group: 'developers' }] } })
    expect(await policies.says('refused', 'tools', 'AccessReady', 'EscalationRefused')).to.match(/pods\/portforward, pods\/proxy and sessionpolicies\/recordings as docs\/permissions.md lists them/)
    await server.client.request(rolePath, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { rules: role['rules'] } })
    // Whatever happens to the policy's pods leads to another attempt.
    await create('refused', await recorded('refused', 'tools', plain('b')))
    await policies.says('refused', 'tools', 'AccessReady', 'Granted')
  })

  it('closes the port that the recorder took over, and nothing else', async () => {
    await createNamespace(server.client, 'network')
    await policies.put('network', 'tools', { selector: { matchLabels: { app: 'mcp' } } })
    await policies.says('network', 'tools', 'NetworkReady', 'NothingToClose')
    await create('network', await recorded('network', 'tools', plain('a')))
    await policies.says('network', 'tools', 'NetworkReady', 'Closed')
    const made = await server.client.request(path('network', 'networkpolicies', 'steno-network-tools'))
    expect(objectAt(made, 'spec')).to.deep.equal({
      podSelector: { matchLabels: { app: 'mcp', 'steno.dev/recorded': 'true' } },
      policyTypes: ['Ingress'],
      ingress: [{ ports: [{ protocol: 'TCP', port: 1, endPort: 8079 }, { protocol: 'TCP', port: 8081, endPort: 65_535 }, { protocol: 'UDP', port: 1, endPort: 65_535 }, { protocol: 'SCTP', port: 1, endPort: 65_535 }] }],
    })
    await policies.put('network', 'tools', { selector: { matchLabels: { app: 'mcp' } }, directPort: 'Open' })
    await policies.says('network', 'tools', 'NetworkReady', 'NotAsked')
    await until(async () => (await found(server.client, path('network', 'networkpolicies', 'steno-network-tools'))) === undefined)
  })

  it('opens nothing that another NetworkPolicy keeps out, and says whether that one lets callers past the recorder', async () => {
    await createNamespace(server.client, 'foreign')
    await policies.put('foreign', 'tools', { selector: {} })
    await create('foreign', await recorded('foreign', 'tools', plain('a')))
    await policies.says('foreign', 'tools', 'NetworkReady', 'Closed')
    const other = async (ingress: Json, labels: JsonObject = {}): Promise<void> => void (await server.client.request(`${path('foreign', 'networkpolicies', 'deny')}?fieldManager=admin&force=true`, { method: 'PATCH', contentType: 'application/apply-patch+yaml', body: { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name: 'deny', labels }, spec: { podSelector: {}, policyTypes: ['Ingress'], ingress } } }))
    await other([])
    await policies.says('foreign', 'tools', 'NetworkReady', 'OtherPolicies')
    expect(await found(server.client, path('foreign', 'networkpolicies', 'steno-network-tools'))).to.equal(undefined)
    await other([{ ports: [{ protocol: 'TCP', port: 8000, endPort: 8100 }] }])
    expect(await policies.says('foreign', 'tools', 'NetworkReady', 'OtherPolicyAdmits')).to.include('NetworkPolicy deny may admit the direct port (8080), past the recorder: let it admit 15080 instead')
    await other([])
    await policies.says('foreign', 'tools', 'NetworkReady', 'OtherPolicies')
    // Our label does not make it ours.
    await other([{}], { 'app.kubernetes.io/managed-by': 'steno' })
    await policies.says('foreign', 'tools', 'NetworkReady', 'OtherPolicyAdmits')
    await remove('foreign', 'networkpolicies', 'deny')
    await policies.says('foreign', 'tools', 'NetworkReady', 'Closed')
  })

  it('closes the numbers of probes, by which pods with capture Redirect are reached past the recorder', async () => {
    await createNamespace(server.client, 'redirect')
    await policies.put('redirect', 'tools', { selector: { matchLabels: { app: 'mcp' } }, capture: 'Redirect', ports: [{ port: 8080 }, { port: 9000 }] })
    const two = [{ containerPort: 8080, protocol: 'TCP' }, { containerPort: 9000, protocol: 'TCP' }]
    await create('redirect', await recorded('redirect', 'tools', plain('a', two)))
    expect(await policies.says('redirect', 'tools', 'NetworkReady', 'Closed')).to.include('keeps the direct ports closed: 15100, 15101.')
    const made = await server.client.request(path('redirect', 'networkpolicies', 'steno-network-tools'))
    expect(objectAt(made, 'spec')).to.deep.equal({
      podSelector: { matchLabels: { app: 'mcp', 'steno.dev/recorded': 'true' } },
      policyTypes: ['Ingress'],
      ingress: [{ ports: [{ protocol: 'TCP', port: 1, endPort: 15_099 }, { protocol: 'TCP', port: 15_102, endPort: 65_535 }, { protocol: 'UDP', port: 1, endPort: 65_535 }, { protocol: 'SCTP', port: 1, endPort: 65_535 }] }],
    })
    const allow = `${path('redirect', 'networkpolicies', 'allow')}?fieldManager=admin&force=true`
    await server.client.request(allow, { method: 'PATCH', contentType: 'application/apply-patch+yaml', body: { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name: 'allow' }, spec: { podSelector: {}, policyTypes: ['Ingress'], ingress: [{}] } } })
    expect(await policies.says('redirect', 'tools', 'NetworkReady', 'OtherPolicyAdmits')).to.include('NetworkPolicy allow may admit the direct port (15100, 15101), past the recorder: let it admit 8080, 9000 instead')
    await remove('redirect', 'networkpolicies', 'allow')
    await policies.says('redirect', 'tools', 'NetworkReady', 'Closed')
    await policies.put('redirect', 'tools', { selector: { matchLabels: { app: 'mcp' } }, capture: 'Redirect', directPort: 'Open' })
    await policies.says('redirect', 'tools', 'NetworkReady', 'NotAsked')
    await until(async () => (await found(server.client, path('redirect', 'networkpolicies', 'steno-network-tools'))) === undefined)
  })

  it('leaves a port open by which the recorder of another pod is reached, though no container names it', async () => {
    await createNamespace(server.client, 'mixed')
    await policies.put('mixed', 'tools', { selector: {} })
    await create('mixed', await recorded('mixed', 'tools', plain('a')))
    await policies.says('mixed', 'tools', 'NetworkReady', 'Closed')
    await policies.put('mixed', 'tools', { selector: {}, capture: 'Redirect', ports: [{ port: 8080 }] })
    await create('mixed', await recorded('mixed', 'tools', plain('b', [])))
    expect(await policies.says('mixed', 'tools', 'NetworkReady', 'PortShared')).to.match(/^Port 8080 leads past the recorder on one pod and is something else on b,/)
    const made = await server.client.request(path('mixed', 'networkpolicies', 'steno-network-tools'))
    expect(objectsAt(objectsAt(objectAt(made, 'spec'), 'ingress')[0], 'ports').map(each => each['endPort'])).to.deep.equal([15_099, 65_535, 65_535, 65_535])
  })

  it('leaves a port open that is something else on another pod of the policy, and says so', async () => {
    await createNamespace(server.client, 'shared')
    await policies.put('shared', 'tools', { selector: {} })
    await create('shared', await recorded('shared', 'tools', plain('a')))
    await create('shared', await recorded('shared', 'tools', plain('b', [{ name: 'mcp', containerPort: 9000, protocol: 'TCP' }, { name: 'metrics', containerPort: 8080, protocol: 'TCP' }])))
    expect(await policies.says('shared', 'tools', 'NetworkReady', 'PortShared')).to.match(/^Port 8080 leads past the recorder on one pod and is something else on b/)
    const made = await server.client.request(path('shared', 'networkpolicies', 'steno-network-tools'))
    expect(objectsAt(objectsAt(objectAt(made, 'spec'), 'ingress')[0], 'ports').map(each => each['endPort'])).to.deep.equal([8999, 65_535, 65_535, 65_535])
  })

  it('counts what is recorded, outdated, missing and skipped, and says why and what to do', async () => {
    await createNamespace(server.client, 'coverage')
    await policies.put('coverage', 'tools', { selector: { matchLabels: { app: 'mcp' } }, optOut: 'Allow' })
    await policies.says('coverage', 'tools', 'Injected', 'NoPods')
    await create('coverage', await recorded('coverage', 'tools', plain('a')))
    await policies.says('coverage', 'tools', 'Injected', 'AllRecorded')
    await create('coverage', plain('bare'))
    expect(await policies.says('coverage', 'tools', 'Injected', 'PodsMissing')).to.match(/^1 pods run without a recorder: bare\. .*restart their owners/)
    await create('coverage', plain('mute', [{ containerPort: 1 }, { containerPort: 2 }]))
    await create('coverage', { ...plain('free'), metadata: { name: 'free', labels: { app: 'mcp' }, annotations: { 'steno.dev/record': 'false' } } })
    await until(async () => (await counts('coverage'))['skipped'] === 2)
    expect(await counts('coverage')).to.deep.equal({ selected: 4, recorded: 1, outdated: 0, missing: 1, skipped: 2 })
    expect(await operator.metrics()).to.include('steno_pods{namespace="coverage",policy="tools",state="missing"} 1')
    await remove('coverage', 'pods', 'bare')
    expect(await policies.says('coverage', 'tools', 'Injected', 'PodsSkipped')).to.match(/^1 pods are not recorded: mute\. ambiguous-port: Several ports/)
    await remove('coverage', 'pods', 'mute')
    await policies.says('coverage', 'tools', 'Injected', 'AllRecorded')
    await policies.put('coverage', 'tools', { selector: { matchLabels: { app: 'mcp' } }, optOut: 'Allow', sink: { firehose: { stream: 'other', region: 'eu-west-1' } } })
    expect(await policies.says('coverage', 'tools', 'Injected', 'PodsOutdated')).to.match(/^1 pods are recorded as an earlier policy/)
    expect(await counts('coverage')).to.deep.equal({ selected: 2, recorded: 1, outdated: 1, missing: 0, skipped: 1 })
    // Who may connect is nothing that a recorder is set up with, and what it takes up while it runs makes no pod outdated.
    await policies.put('coverage', 'tools', { selector: { matchLabels: { app: 'mcp' } }, optOut: 'Allow', onFailure: 'Allow', access: { connect: [{ group: 'developers' }] } })
    await policies.says('coverage', 'tools', 'Injected', 'AllRecorded')
    await policies.says('coverage', 'tools', 'Ready', 'Ready')
  })

  it('says which other policies select its pods, and what of it does not hold there, as policies come and go', async () => {
    await createNamespace(server.client, 'overlap')
    await policies.put('overlap', 'a', { selector: { matchLabels: { app: 'mcp' } }, onFailure: 'Allow' })
    await create('overlap', await recorded('overlap', 'a', plain('pod')))
    await policies.says('overlap', 'a', 'Effective', 'AsWritten')
    await policies.says('overlap', 'a', 'Injected', 'AllRecorded')
    await policies.put('overlap', 'b', { selector: {}, onFailure: 'Block' })
    expect(await policies.says('overlap', 'a', 'Effective', 'Overruled')).to.match(/^1 of its pods \(pod\) are selected by b too, and there another value of onFailure holds/)
    await policies.says('overlap', 'b', 'Effective', 'Agreed')
    // Its recorder was set up for one of them.
    await policies.says('overlap', 'a', 'Injected', 'PodsOutdated')
    await policies.says('overlap', 'a', 'Ready', 'Ready')
    await server.client.request('/apis/steno.dev/v1alpha1/namespaces/overlap/sessionpolicies/b', { method: 'DELETE' })
    await policies.says('overlap', 'a', 'Effective', 'AsWritten')
    await policies.says('overlap', 'a', 'Injected', 'AllRecorded')
  })

  it('looks at nothing again when only the status of a pod changes, and pods of one template share what is kept of them', async () => {
    await createNamespace(server.client, 'status')
    await policies.put('status', 'tools', { selector: {} })
    await create('status', await recorded('status', 'tools', plain('a')))
    await policies.says('status', 'tools', 'Ready', 'Ready')
    const looks = async (): Promise<number> => [...(await operator.metrics()).matchAll(/^workqueue_adds_total\{name="network"\} (\d+)$/gm)].reduce((sum, match) => sum + Number(match[1]), 0)
    const before = await looks()
    for (let index = 0; index < 20; index++) await server.client.request(`${path('status', 'pods', 'a')}/status`, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { status: { podIP: `10.0.0.${index}` } } })
    // By the same watch, so it comes after them.
    await create('status', await recorded('status', 'tools', plain('b')))
    await until(async () => (await counts('status'))['recorded'] === 2)
    expect((await looks()) - before).to.be.below(10)
  })

  it('a leader that starts on a settled cluster writes nothing', async () => {
    const before = operator.writes.length
    await operator.stop()
    const next = await startOperatorFor(account)
    await next.leading
    await createNamespace(server.client, 'settled')
    await policies.put('settled', 'last', { selector: {} })
    await policies.says('settled', 'last', 'Ready', 'Ready')
    expect(before).to.be.greaterThan(0)
    expect(next.writes.filter(each => !each.includes('/settled/'))).to.deep.equal([])
    operator = next
  })
})

describe('openRanges()', () => {
  it('leaves out exactly the closed ports', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.oneof(fc.integer({ min: 1, max: 65_535 }), fc.constantFrom(1, 2, 65_534, 65_535)), { maxLength: 8 }), ports => {
        const closed = ports.toSorted((a, b) => a - b)
        const ranges = openRanges(closed)
        const isOpen = (port: number): boolean => ranges.some(([first, last]) => first <= port && port <= last)
        for (const port of closed) expect([port - 1, port, port + 1].map(isOpen)).to.deep.equal([port - 1, port, port + 1].map(each => each >= 1 && each <= 65_535 && !closed.includes(each)))
        expect(ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)).to.equal(65_535 - closed.length)
      }),
      fuzzRuns,
    )
  })
})
