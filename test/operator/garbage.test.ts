/** What goes with a policy, and with a namespace: by the cluster's own garbage collection, which is real here. */

import { expect } from 'chai'

import { objectsAt, textsAt } from '../../src/policy/json.ts'
import { findControllerManager, startControllerManager } from '../support/controller-manager.ts'
import { createNamespace, kubeAssets, nameOf, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator } from '../support/operator-account.ts'
import { found, policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

const COLLECTIONS = ['/api/v1/namespaces/NS/configmaps', '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/roles', '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings', '/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies']

describe('garbage collection, with the real controller manager', function () {
  this.timeout(120_000)
  let server: ApiServer
  let operator: OperatorUnderTest
  let policies: Policies

  before(async function () {
    const assets = kubeAssets()
    const program = findControllerManager()
    if (assets === undefined || program === undefined) return this.skip()
    const started = await startForOperator(assets)
    server = started.server
    operator = await startOperatorFor(started.account)
    await operator.leading
    policies = policiesOf(server.client)
    startControllerManager(program, server.kubeconfig, ['garbage-collector-controller', 'namespace-controller'])
  })
  after(async () => {
    await operator?.stop()
    await server?.stop()
  })

  const ours = async (namespace: string): Promise<readonly string[]> => {
    const lists = await Promise.all(COLLECTIONS.map(async path => objectsAt(await server.client.request(path.replace('NS', namespace)), 'items')))
    return lists.flat().filter(each => textsAt(each['metadata'], 'labels')['app.kubernetes.io/managed-by'] === 'steno').map(nameOf)
  }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', labels: { 'steno.dev/recorded': 'true' }, annotations: { 'steno.dev/injected': JSON.stringify({ configHash: 'x', capture: 'Port', ports: [{ port: 8080, listen: 15_080 }], renamed: [] }) } }, spec: { containers: [{ name: 'server', image: 'x' }, { name: 'steno-recorder', image: 'x' }] } }
  const settle = async (namespace: string, name: string): Promise<void> => {
    await policies.put(namespace, name, { selector: {}, access: { connect: [{ group: 'developers' }], view: [{ group: 'auditors' }] } })
    await policies.says(namespace, name, 'NetworkReady', 'Closed')
    await policies.says(namespace, name, 'AccessReady', 'Granted')
    await policies.says(namespace, name, 'PolicyReady', 'Compiled')
  }

  it('deleting a policy takes all with it that was made for it, and nothing of another policy', async () => {
    await createNamespace(server.client, 'one')
    await server.client.request('/api/v1/namespaces/one/pods', { method: 'POST', body: pod })
    await settle('one', 'goes')
    await settle('one', 'stays')
    expect(await ours('one')).to.have.length(12)
    await server.client.request('/apis/steno.dev/v1alpha1/namespaces/one/sessionpolicies/goes', { method: 'DELETE' })
    await until(async () => (await ours('one')).length === 6)
    expect((await ours('one')).every(name => name.endsWith('-stays'))).to.equal(true)
  })

  it('a namespace that is deleted goes, with its policies, and the operator makes nothing of it again', async () => {
    await createNamespace(server.client, 'whole')
    await server.client.request('/api/v1/namespaces/whole/pods', { method: 'POST', body: pod })
    await settle('whole', 'tools')
    await server.client.request('/api/v1/namespaces/whole', { method: 'DELETE' })
    // Without a kubelet nobody says that the pod has ended.
    await server.client.request('/api/v1/namespaces/whole/pods/a?gracePeriodSeconds=0', { method: 'DELETE' }).catch(() => {})
    await until(async () => (await found(server.client, '/api/v1/namespaces/whole')) === undefined)
    expect(await operator.ready()).to.equal(200)
  })
})
