/** EKS access entries for the IAM roles of access.connect: on a real API server and a double of EKS, under the operator's own IAM policy. */

import { expect } from 'chai'

import { findCondition } from '../../src/kube/conditions.ts'
import { objectsAt, stringsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { startIamDouble } from '../support/aws/iam.ts'
import type { IamDouble } from '../support/aws/iam.ts'
import { planeAt, QUICK, settingsWithAws } from '../support/aws/installation.ts'
import { operatorPolicy } from '../support/aws/operator-policy.ts'
import { openDoor } from '../support/aws/watched.ts'
import type { Door } from '../support/aws/watched.ts'
import { settings } from '../support/golden-pods.ts'
import { createNamespace, installCrd, kubeAssets, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { asOperator, TABLES_WITH_AWS } from '../support/operator-account.ts'
import { found, policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

const ENGINEER = 'arn:aws:iam::123456789012:role/teams/engineer'
const GROUP = `steno:${ENGINEER}`

describe('EKS access entries, on a real API server', function () {
  this.timeout(30_000)
  let server: ApiServer
  let operator: OperatorUnderTest
  let policies: Policies
  let aws: IamDouble
  let door: Door

  before(async function () {
    this.timeout(120_000)
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    const account = await asOperator(server.cluster, server.client, TABLES_WITH_AWS)
    aws = await startIamDouble()
    aws.permissions = [operatorPolicy()]
    door = await openDoor(aws.endpoint)
    operator = await startOperatorFor(account, { settings: settingsWithAws(), controlPlane: planeAt(door.endpoint), awsTimes: QUICK })
    await operator.leading
    policies = policiesOf(server.client)
  })
  after(async () => {
    await operator?.stop()
    await door?.close()
    await aws?.close()
    await server?.stop()
  })
  afterEach(() => expect(aws.refused).to.deep.equal([]))

  const spec: JsonObject = { selector: {}, access: { connect: [{ role: ENGINEER }] } }
  const path = (namespace: string): string => `/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies/tools`
  const remove = async (namespace: string): Promise<void> => {
    await server.client.request(path(namespace), { method: 'DELETE' })
    await until(async () => (await found(server.client, path(namespace))) === undefined)
  }
  const ready = async (namespace: string): Promise<void> => {
    await createNamespace(server.client, namespace)
    await policies.put(namespace, 'tools', spec)
    await policies.says(namespace, 'tools', 'EntriesReady', 'EntriesReady')
  }
  const writes = (): readonly string[] => door.writes()

  it('puts a role into the group that the binding names, once for all policies, and takes it out with the last', async () => {
    await ready('first')
    expect(aws.entries.get(ENGINEER)).to.deep.equal({ groups: [GROUP], tags: { 'steno.dev/cluster': 'prod' } })
    await policies.says('first', 'tools', 'AccessReady', 'Granted')
    const binding = await server.client.request('/apis/rbac.authorization.k8s.io/v1/namespaces/first/rolebindings/steno-connect-tools')
    expect(objectsAt(binding, 'subjects').map(each => [textAt(each, 'kind'), textAt(each, 'name')])).to.deep.equal([['Group', GROUP]])
    await ready('second')
    expect(writes()).to.deep.equal(['eks:CreateAccessEntry'])
    await remove('first')
    expect(aws.entries.has(ENGINEER)).to.equal(true)
    await policies.put('second', 'tools', { selector: {} })
    await policies.says('second', 'tools', 'EntriesReady', 'NotAsked')
    await until(async () => !aws.entries.has(ENGINEER))
    await until(async () => stringsAt((await policies.get('second', 'tools'))['metadata'], 'finalizers').length === 0)
    expect(writes()).to.deep.equal(['eks:CreateAccessEntry', 'eks:DeleteAccessEntry'])
    await remove('second')
  })

  it('puts right the groups of its entry with one write', async () => {
    await ready('drift')
    const before = writes().length
    aws.entries.set(ENGINEER, { groups: ['system:masters'], tags: { 'steno.dev/cluster': 'prod' } })
    await until(async () => aws.entries.get(ENGINEER)?.groups[0] === GROUP)
    expect(writes().slice(before)).to.deep.equal(['eks:UpdateAccessEntry'])
    await remove('drift')
  })

  it('leaves alone an entry that is not its own, says which group to add, and is content when it is there', async () => {
    aws.entries.set(ENGINEER, { groups: ['viewers'], tags: {} })
    await createNamespace(server.client, 'taken')
    await policies.put('taken', 'tools', spec)
    expect(await policies.says('taken', 'tools', 'EntriesReady', 'EntryNotOurs')).to.include(`and ${GROUP}.`)
    aws.entries.set(ENGINEER, { groups: ['viewers', GROUP], tags: {} })
    await policies.says('taken', 'tools', 'EntriesReady', 'EntriesReady')
    await remove('taken')
    expect(aws.entries.has(ENGINEER)).to.equal(true)
    aws.entries.delete(ENGINEER)
  })

  it('keeps a policy that is deleted while EKS is away, and lets it go when it is back', async () => {
    await ready('away')
    aws.fault = () => ({ status: 503, code: 'ServiceUnavailableException' })
    await server.client.request(path('away'), { method: 'DELETE' })
    await until(async () => findCondition(await policies.get('away', 'tools'), 'EntriesReady')?.['reason'] === 'AwsUnreachable')
    aws.fault = undefined
    await until(async () => (await found(server.client, path('away'))) === undefined)
    expect(aws.entries.has(ENGINEER)).to.equal(false)
  })

  it('says what is missing when the cluster is not one that knows access entries', async () => {
    aws.fault = action => (action === 'eks:CreateAccessEntry' ? { status: 400, code: 'InvalidRequestException' } : undefined)
    await createNamespace(server.client, 'old')
    await policies.put('old', 'tools', spec)
    expect(await policies.says('old', 'tools', 'EntriesReady', 'AwsRefused')).to.include('eks:CreateAccessEntry: InvalidRequestException')
    aws.fault = undefined
    await policies.says('old', 'tools', 'EntriesReady', 'EntriesReady')
    await remove('old')
  })

  it('says that no account is configured where a policy names a role all the same', async () => {
    await operator.stop()
    operator = await startOperatorFor(server.cluster, { settings: settings() })
    await operator.leading
    await createNamespace(server.client, 'without')
    await policies.put('without', 'tools', spec)
    await policies.says('without', 'tools', 'EntriesReady', 'AwsNotConfigured')
  })
})
