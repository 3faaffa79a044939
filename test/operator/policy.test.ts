/** A policy's life under the operator: its compiled form, its conditions, and who does the work. */

import { expect } from 'chai'

import { KubeError } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { createNamespace, installCrd, kubeAssets, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { found, policiesOf, startOperatorFor } from '../support/operator.ts'
import { asOperator } from '../support/operator-account.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

describe('operator, on a real API server', function () {
  this.timeout(120_000)
  let server: ApiServer
  let operator: OperatorUnderTest
  let policies: Policies
  let account: Cluster

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    account = await asOperator(server.cluster, server.client)
    operator = await startOperatorFor(account)
    await operator.leading
    policies = policiesOf(server.client)
  })
  after(async () => {
    await operator?.stop()
    await server?.stop()
  })

  const configMap = (namespace: string, name: string): string => `/api/v1/namespaces/${namespace}/configmaps/steno-policy-${name}`
  const change = async (path: string, body: JsonObject): Promise<void> => void (await server.client.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body }))
  /** Waits until nothing is written any more: a policy that is written now is ready, and its writes were the last. */
  const quiet = async (namespace: string): Promise<void> => {
    await policies.put(namespace, 'last', { selector: {} })
    await policies.says(namespace, 'last', 'Ready', 'Ready')
  }

  it('compiles a policy into a ConfigMap that is deleted with it, and says so', async () => {
    await createNamespace(server.client, 'compile')
    await policies.put('compile', 'tools', { selector: {}, durability: 'OffPod', sink: { firehose: { stream: 's', region: 'eu-west-1' } } })
    await policies.says('compile', 'tools', 'Ready', 'Ready')
    const policy = await policies.get('compile', 'tools')
    const made = await server.client.request(configMap('compile', 'tools'))
    expect(JSON.parse(textAt(made['data'], 'policy.json') ?? '')).to.deep.equal({
      format: 1,
      policy: { namespace: 'compile', name: 'tools', uid: textAt(policy['metadata'], 'uid') },
      durability: 'OffPod',
      onFailure: 'Block',
      sink: { firehose: { stream: 's', region: 'eu-west-1' } },
    })
    expect(objectsAt(made['metadata'], 'ownerReferences')).to.deep.equal([{ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', name: 'tools', uid: textAt(policy['metadata'], 'uid'), controller: true, blockOwnerDeletion: false }])
    expect(objectAt(policy, 'status')).to.deep.include({ hash: textsAt(made['metadata'], 'annotations')['steno.dev/policy-hash'], observedGeneration: 1 })
    expect(objectAt(policy, 'metadata')['finalizers']).to.equal(undefined)
  })

  it('gives another hash when what recorders read changes, and the same when only the selector does', async () => {
    await createNamespace(server.client, 'hash')
    const hashAfter = async (spec: JsonObject): Promise<string> => {
      await policies.put('hash', 'tools', spec)
      await policies.says('hash', 'tools', 'PolicyReady', 'Compiled')
      return textAt(objectAt(await policies.get('hash', 'tools'), 'status'), 'hash') ?? ''
    }
    const first = await hashAfter({ selector: { matchLabels: { app: 'w' } } })
    expect(await hashAfter({ selector: { matchLabels: { app: 'x' } } })).to.equal(first)
    expect(await hashAfter({ selector: { matchLabels: { app: 'x' } }, onFailure: 'Allow' })).to.not.equal(first)
  })

  it('repairs its ConfigMap with exactly one write, whatever was done to it, and writes nothing otherwise', async () => {
    await createNamespace(server.client, 'drift')
    await policies.put('drift', 'tools', { selector: {} })
    await policies.says('drift', 'tools', 'Ready', 'Ready')
    const path = configMap('drift', 'tools')
    const right = await server.client.request(path)
    const isRight = async (): Promise<boolean> => {
      const now = await found(server.client, path)
      return now !== undefined && textAt(now['data'], 'policy.json') === textAt(right['data'], 'policy.json') && objectsAt(now['metadata'], 'ownerReferences').length === 1 && textsAt(now['metadata'], 'labels')['app.kubernetes.io/managed-by'] === 'steno'
    }
    for (const harm of [
      async () => await change(path, { data: { 'policy.json': '{}' } }),
      async () => await change(path, { metadata: { labels: null } }),
      async () => await change(path, { metadata: { ownerReferences: null } }),
      async () => void (await server.client.request(path, { method: 'DELETE' })),
    ]) {
      operator.writes.length = 0
      await harm()
      await until(isRight)
      await quiet('drift')
      expect(operator.writes.filter(each => !each.includes('last'))).to.deep.equal([`PATCH ${path}`])
    }
  })

  it('does not touch a ConfigMap of that name which is not its own, and says what to do', async () => {
    await createNamespace(server.client, 'taken')
    await server.client.request('/api/v1/namespaces/taken/configmaps', { method: 'POST', body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'steno-policy-tools' }, data: { mine: 'yes' } } })
    await policies.put('taken', 'tools', { selector: {} })
    expect(await policies.says('taken', 'tools', 'Ready', 'NameTaken')).to.equal("PolicyReady: ConfigMap steno-policy-tools exists and is not Steno's. Rename or delete it.")
    expect((await server.client.request(configMap('taken', 'tools')))['data']).to.deep.equal({ mine: 'yes' })
    const events = async (): Promise<readonly JsonObject[]> => objectsAt(await server.client.request('/apis/events.k8s.io/v1/namespaces/taken/events'), 'items')
    await until(async () => (await events()).some(each => each['reason'] === 'NameTaken' && each['type'] === 'Warning'))
  })

  it('keeps a name of 253 characters apart from others that begin alike', async () => {
    await createNamespace(server.client, 'long')
    for (const end of ['a', 'b']) {
      await policies.put('long', `${'x'.repeat(252)}${end}`, { selector: {} })
      await policies.says('long', `${'x'.repeat(252)}${end}`, 'Ready', 'Ready')
    }
    const names = objectsAt(await server.client.request('/api/v1/namespaces/long/configmaps'), 'items').map(each => textAt(each['metadata'], 'name'))
    expect(new Set(names).size).to.equal(2)
  })

  it('works on after refusals and resets of the API server, without asking more often than it may', async () => {
    await createNamespace(server.client, 'faults')
    let refused = 0
    operator.before = async (path, { method }) => {
      if (method !== 'PATCH' || !path.includes('/namespaces/faults/')) return
      refused++
      if (refused <= 8) throw new KubeError([429, 500, 503, 0][refused % 4] ?? 0, '', 'not now')
    }
    await policies.put('faults', 'tools', { selector: {} })
    await policies.says('faults', 'tools', 'Ready', 'Ready')
    operator.before = undefined
    expect(operator.log()).to.include('a reconcile failed and is tried again')
    expect(await operator.metrics()).to.match(/controller_runtime_reconcile_errors_total\{controller="[a-z]+"\} [1-9]/)
  })

  it('lets a second replica go on at once when the first is stopped, and both never act together', async () => {
    const second = await startOperatorFor(account)
    await until(async () => (await second.ready()) === 200)
    await createNamespace(server.client, 'handover')
    await policies.put('handover', 'a', { selector: {} })
    await policies.says('handover', 'a', 'Ready', 'Ready')
    expect(second.writes).to.deep.equal([])
    expect(await second.metrics()).to.include('leader_election_master_status{name="steno-operator"} 0')
    await operator.stop()
    await second.leading
    await policies.put('handover', 'b', { selector: {} })
    await policies.says('handover', 'b', 'Ready', 'Ready')
    expect(second.writes.filter(each => each.includes('/namespaces/handover/') && !/\/(?:steno-policy-)?b(?:\/|$)/.test(each))).to.deep.equal([])
    operator = second
  })
})
