/** The IAM roles of a policy, on a real API server and under the operator's own IAM policy. */

import { expect } from 'chai'

import type { Cluster } from '../../src/kube/cluster.ts'
import { stringsAt } from '../../src/policy/json.ts'
import { startIamDouble } from '../support/aws/iam.ts'
import type { IamDouble } from '../support/aws/iam.ts'
import { planeAt, QUICK, settingsWithAws } from '../support/aws/installation.ts'
import { openDoor } from '../support/aws/watched.ts'
import type { Door } from '../support/aws/watched.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { asOperator, TABLES_WITH_AWS } from '../support/operator-account.ts'
import { policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

describe('roles in IAM, on a real API server', function () {
  this.timeout(120_000)
  let server: ApiServer
  let account: Cluster
  let operator: OperatorUnderTest
  let policies: Policies
  let iam: IamDouble
  let door: Door

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
    account = await asOperator(server.cluster, server.client, TABLES_WITH_AWS)
    iam = await startIamDouble()
    door = await openDoor(iam.endpoint)
    operator = await startOperatorFor(account, { settings: settingsWithAws(), controlPlane: planeAt(door.endpoint), awsTimes: QUICK })
    await operator.leading
    policies = policiesOf(server.client)
  })
  after(async () => {
    await operator?.stop()
    await door?.close()
    await iam?.close()
    await server?.stop()
  })

  it('makes the roles of a policy when it selects a pod, and takes them on before it calls them ready', async () => {
    await createNamespace(server.client, 'make')
    await policies.put('make', 'tools', { selector: {}, aws: { policyArns: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'] } })
    await policies.says('make', 'tools', 'RoleReady', 'NoRoles')
    await server.client.request('/api/v1/namespaces/make/pods', { method: 'POST', body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { containers: [{ name: 'server', image: 'x' }] } } })
    await policies.says('make', 'tools', 'RoleReady', 'RoleReady')
    const made = await policies.get('make', 'tools')
    expect(stringsAt(made['status'], 'roles')).to.have.members([...iam.roles.values()].map(({ arn }) => arn))
    expect(door.calls.slice(0, 8).map(({ action }) => action)).to.deep.equal(['iam:GetRole', 'iam:CreateRole', 'iam:PutRolePolicy', 'sts:AssumeRoleWithWebIdentity', 'iam:GetRole', 'iam:CreateRole', 'iam:AttachRolePolicy', 'sts:AssumeRoleWithWebIdentity'])
  })
})
