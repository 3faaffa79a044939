/** The IAM roles of a policy: on a real API server, against a double of IAM that lets the operator do what its own policy in `hack/aws/` grants, and nothing else. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import type { Cluster } from '../../src/kube/cluster.ts'
import { createKubeClient, KubeError } from '../../src/kube/client.ts'
import { findCondition } from '../../src/kube/conditions.ts'
import type { AwsInstallation } from '../../src/policy/aws-installation.ts'
import { roleName, rolePart } from '../../src/policy/aws-roles.ts'
import { objectAt, objectsAt, stringsAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { OPERATOR_ROLE, startIamDouble } from '../support/aws/iam.ts'
import type { IamDouble, StoredRole } from '../support/aws/iam.ts'
import { AWS_SETTINGS, BOUNDARY, ISSUER, planeAt, providerOf, QUICK, settingsWithAws } from '../support/aws/installation.ts'
import { operatorAccount, operatorPolicy, WORKLOAD_POLICIES } from '../support/aws/operator-policy.ts'
import { openDoor } from '../support/aws/watched.ts'
import type { Door } from '../support/aws/watched.ts'
import { digest, settings } from '../support/golden-pods.ts'
import { createNamespace, kubeAssets, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator, TABLES_WITH_AWS } from '../support/operator-account.ts'
import { found, policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

const [S3 = '', SQS = ''] = WORKLOAD_POLICIES
const POLICY = '/apis/steno.dev/v1alpha1/namespaces'

describe('roles in IAM, on a real API server', function () {
  this.timeout(30_000)
  let server: ApiServer
  let account: Cluster
  let operator: OperatorUnderTest
  let policies: Policies
  let iam: IamDouble
  let door: Door
  let folder: string
  /** As in its pod: a token that the kubelet replaces. */
  let identity: Readonly<Record<string, string>>

  const operate = async (changes: JsonObject = {}, times: Partial<typeof QUICK> = {}): Promise<void> => {
    operator = await startOperatorFor(account, { settings: settingsWithAws(changes), controlPlane: planeAt(door.endpoint, identity), awsTimes: { ...QUICK, ...times } })
    await operator.leading
  }
  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    this.timeout(120_000)
    const started = await startForOperator(assets, TABLES_WITH_AWS, { issuer: ISSUER })
    server = started.server
    account = started.account
    folder = await mkdtemp(join(tmpdir(), 'roles-'))
    identity = { AWS_ROLE_ARN: OPERATOR_ROLE, AWS_WEB_IDENTITY_TOKEN_FILE: join(folder, 'token') }
    const own = await server.client.request('/api/v1/namespaces/steno-system/serviceaccounts/steno-operator/token', { method: 'POST', body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: ['sts.amazonaws.com'] } } })
    await writeFile(join(folder, 'token'), textAt(own['status'], 'token') ?? '')
    iam = await startIamDouble({ providers: [await providerOf(server)], ...operatorAccount() })
    iam.permissions = [operatorPolicy()]
    door = await openDoor(iam.endpoint)
    await operate()
    policies = policiesOf(server.client)
  })
  after(async () => {
    await operator?.stop()
    await door?.close()
    await iam?.close()
    await server?.stop()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })
  beforeEach(() => {
    iam.fault = undefined
    iam.lag = { reads: 0, trust: 0 }
    iam.refused.length = 0
  })
  afterEach(async () => {
    expect(iam.refused).to.deep.equal([])
    iam.fault = undefined
    // What is there is compared all the time.
    const left = async (): Promise<readonly JsonObject[]> => objectsAt(await server.client.request('/apis/steno.dev/v1alpha1/sessionpolicies'), 'items').filter(each => textAt(each['metadata'], 'namespace') !== 'broken')
    for (const each of await left()) await server.client.request(`${POLICY}/${textAt(each['metadata'], 'namespace') ?? ''}/sessionpolicies/${textAt(each['metadata'], 'name') ?? ''}`, { method: 'DELETE' })
    await until(async () => (await left()).length === 0)
    expect([...iam.roles.values()].filter(each => each.tags.get('steno.dev/cluster') !== 'staging' && each.tags.get('steno.dev/namespace') !== 'broken').map(({ name }) => name)).to.deep.equal([])
  })

  const installation = (): AwsInstallation => settingsWithAws().aws ?? expect.fail('no account')
  const roleOf = (namespace: string, purpose: 'ship' | 'work' = 'ship', serviceAccount = 'default', policy = 'tools'): string => roleName(installation(), { namespace, policy, purpose, part: rolePart(serviceAccount, digest) }, digest)
  const role = (name: string): StoredRole => iam.roles.get(name) ?? expect.fail(`no role ${name}`)
  const rolesIn = (namespace: string): string[] => [...iam.roles.values()].filter(({ tags }) => tags.get('steno.dev/namespace') === namespace).map(({ name }) => name).toSorted()
  const pod = async (namespace: string, name: string, serviceAccountName = 'default'): Promise<void> => {
    const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`
    if ((await found(server.client, `${accounts}/${serviceAccountName}`)) === undefined) await server.client.request(accounts, { method: 'POST', body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: serviceAccountName } } })
    await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { serviceAccountName, containers: [{ name: 'server', image: 'x', ports: [{ name: 'mcp', containerPort: 8080 }] }] } } })
  }
  const removePod = async (namespace: string, name: string): Promise<void> => void (await server.client.request(`/api/v1/namespaces/${namespace}/pods/${name}?gracePeriodSeconds=0`, { method: 'DELETE' }))
  const ready = async (namespace: string, spec: JsonObject = {}): Promise<void> => {
    await createNamespace(server.client, namespace)
    await pod(namespace, 'a')
    await policies.put(namespace, 'tools', { selector: {}, ...spec })
    await policies.says(namespace, 'tools', 'RoleReady', 'RoleReady')
  }
  const remove = async (namespace: string): Promise<void> => void (await server.client.request(`${POLICY}/${namespace}/sessionpolicies/tools`, { method: 'DELETE' }))
  const isGone = async (namespace: string): Promise<boolean> => (await found(server.client, `${POLICY}/${namespace}/sessionpolicies/tools`)) === undefined
  const annotate = async (namespace: string, annotations: Json): Promise<void> => void (await server.client.request(`${POLICY}/${namespace}/sessionpolicies/tools`, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { metadata: { annotations } } }))
  const writesAbout = (name: string): string[] => door.calls.filter(({ action, about }) => about === name && !/:(?:Get|List|Assume)/.test(action)).map(({ action }) => action)
  /** Waits until the role was compared with what it should be so often again. */
  const compared = async (name: string, times = 2): Promise<void> => {
    const before = door.calls.length
    await until(async () => door.calls.slice(before).filter(({ action, about }) => action === 'iam:GetRole' && about === name).length >= times)
  }
  const subjects = (name: string): readonly string[] => {
    const [subject] = objectsAt({ Statement: [(JSON.parse(role(name).trust) as JsonObject)['Statement'] as JsonObject].flat() }, 'Statement')
    const value = Object.entries(objectAt(objectAt(subject, 'Condition'), 'StringEquals')).find(([key]) => key.endsWith(':sub'))?.[1]
    return (Array.isArray(value) ? value.map(String) : [String(value)]).toSorted()
  }
  const events = async (namespace: string, reason: string): Promise<readonly string[]> => objectsAt(await server.client.request(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`), 'items').filter(each => each['reason'] === reason).map(each => textAt(each, 'note') ?? '')

  it('makes the roles of a policy when it selects a pod, says where they are, and takes them on before it calls them ready', async () => {
    await createNamespace(server.client, 'make')
    await policies.put('make', 'tools', { selector: {}, aws: { policyArns: [S3] } })
    await policies.says('make', 'tools', 'RoleReady', 'NoRoles')
    expect(objectAt(await policies.get('make', 'tools'), 'metadata')['finalizers']).to.equal(undefined)
    await pod('make', 'a')
    await policies.says('make', 'tools', 'RoleReady', 'RoleReady')
    const stored = await policies.get('make', 'tools')
    const [ship, work] = [role(roleOf('make')), role(roleOf('make', 'work'))]
    expect(stringsAt(stored['status'], 'roles')).to.have.members([ship.arn, work.arn])
    expect(stringsAt(stored['metadata'], 'finalizers')).to.deep.equal(['steno.dev/roles'])
    expect(ship.boundary).to.equal(BOUNDARY)
    expect(ship.path).to.equal('/steno/')
    expect(Object.fromEntries(ship.tags)).to.include({ 'steno.dev/cluster': 'prod', 'steno.dev/namespace': 'make', 'steno.dev/policy': 'tools', 'steno.dev/policy-uid': textAt(stored['metadata'], 'uid') })
    expect(subjects(ship.name)).to.deep.equal(['system:serviceaccount:make:default'])
    expect([...ship.inline.keys()]).to.deep.equal(['steno'])
    expect(ship.inline.get('steno')).to.include('"Resource":"arn:aws:firehose:eu-west-1:123456789012:deliverystream/steno"').and.to.include('"Action":"firehose:PutRecordBatch"')
    expect([[...ship.attached], [...work.attached], [...work.inline]]).to.deep.equal([[], [S3], []])
    expect(door.calls.filter(({ about }) => about === ship.name || about === ship.arn).slice(0, 4).map(({ action }) => action)).to.deep.equal(['iam:GetRole', 'iam:CreateRole', 'iam:PutRolePolicy', 'sts:AssumeRoleWithWebIdentity'])
    expect(await operator.metrics()).to.match(/steno_aws_calls_total\{action="iam:CreateRole",result="ok"\} [1-9]/)
  })

  it('writes nothing while nothing differs, whatever form IAM gives documents back in', async () => {
    await ready('settled', { aws: { policyArns: [S3, SQS] } })
    await pod('settled', 'b', 'other')
    await policies.says('settled', 'tools', 'RoleReady', 'RoleReady')
    await until(async () => rolesIn('settled').length >= 2)
    await compared(roleOf('settled'))
    const before = rolesIn('settled').flatMap(writesAbout).length
    await compared(roleOf('settled'), 3)
    expect(rolesIn('settled').flatMap(writesAbout)).to.have.length(before)
  })

  describe('puts right, with exactly one write, and tells of it', () => {
    const name = 'broken'
    before(async () => await ready(name, { aws: { policyArns: [S3] } }))
    after(async () => await remove(name))
    const trust = (change: (text: string) => string) => (stored: StoredRole) => void (stored.trust = change(stored.trust))
    const cases: readonly (readonly [what: string, purpose: 'ship' | 'work', harm: (stored: StoredRole) => void, write: string, isRight: (stored: StoredRole) => boolean])[] = [
      ['a policy that was detached', 'work', stored => stored.attached.clear(), 'iam:AttachRolePolicy', stored => stored.attached.has(S3)],
      ['a trust in another service account', 'ship', trust(text => text.replace(':default', ':evil')), 'iam:UpdateAssumeRolePolicy', stored => !stored.trust.includes('evil')],
      ['a trust in anybody of the namespace', 'ship', trust(text => text.replace('StringEquals', 'StringLike').replace(':default', ':*')), 'iam:UpdateAssumeRolePolicy', stored => !stored.trust.includes('*')],
      ['a statement about a principal that was deleted', 'ship', trust(text => text.replace('"Statement":[', '"Statement":[{"Effect":"Allow","Principal":{"AWS":"AROAEXAMPLE"},"Action":"sts:AssumeRole"},')), 'iam:UpdateAssumeRolePolicy', stored => !stored.trust.includes('AROA')],
      ['an inline policy that was widened', 'ship', stored => void stored.inline.set('steno', '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"firehose:*","Resource":"*"}}'), 'iam:PutRolePolicy', stored => !(stored.inline.get('steno') ?? '*').includes('*')],
      ['an inline policy that was deleted', 'ship', stored => stored.inline.clear(), 'iam:PutRolePolicy', stored => stored.inline.has('steno')],
      ['an inline policy where none should be', 'work', stored => void stored.inline.set('steno', '{}'), 'iam:DeleteRolePolicy', stored => stored.inline.size === 0],
      ['a tag that says which policy it is for', 'ship', stored => void stored.tags.set('steno.dev/policy-uid', 'x'), 'iam:TagRole', stored => stored.tags.get('steno.dev/policy-uid') !== 'x'],
    ]
    for (const [what, purpose, harm, write, isRight] of cases) {
      it(what, async () => {
        const stored = role(roleOf(name, purpose))
        await compared(stored.name, 1)
        const before = writesAbout(stored.name).length
        harm(stored)
        await until(async () => isRight(stored))
        await compared(stored.name)
        expect(writesAbout(stored.name).slice(before)).to.deep.equal([write])
        await until(async () => (await events(name, 'RoleRepaired')).some(note => note.includes(stored.name)))
        await policies.says(name, 'tools', 'RoleReady', 'RoleReady')
      })
    }

    it('a role that was deleted, with what makes one', async () => {
      const stored = roleOf(name)
      const before = writesAbout(stored).length
      iam.roles.delete(stored)
      await until(async () => iam.roles.get(stored)?.inline.has('steno') === true)
      await policies.says(name, 'tools', 'RoleReady', 'RoleReady')
      await compared(stored)
      expect(writesAbout(stored).slice(before)).to.deep.equal(['iam:CreateRole', 'iam:PutRolePolicy'])
    })
  })

  it('follows a change of the sink, and of the policies that aws names', async () => {
    await ready('change', { aws: { policyArns: [S3] } })
    await policies.put('change', 'tools', { selector: {}, aws: { policyArns: [SQS] }, sink: { firehose: { stream: 'theirs', region: 'us-east-1' } } })
    await policies.says('change', 'tools', 'RoleReady', 'RoleReady')
    expect(role(roleOf('change')).inline.get('steno')).to.include('arn:aws:firehose:us-east-1:123456789012:deliverystream/theirs')
    expect([...role(roleOf('change', 'work')).attached]).to.deep.equal([SQS])
    await policies.put('change', 'tools', { selector: {} })
    await until(async () => !iam.roles.has(roleOf('change', 'work')))
    await until(async () => stringsAt((await policies.get('change', 'tools'))['status'], 'roles').length === 1)
  })

  it('trusts exactly the service accounts of the pods that ship as this policy says, and forgets those that are gone', async () => {
    await createNamespace(server.client, 'accounts')
    const sink = { firehose: { stream: 'other', region: 'eu-west-1' } }
    await policies.put('accounts', 'tools', { selector: {} })
    await policies.put('accounts', 'zz-sink', { selector: { matchLabels: { no: 'pod' } }, sink })
    for (const name of ['one', 'two', 'three']) await pod('accounts', name, name)
    const trusted = (): string[] => rolesIn('accounts').flatMap(name => [...subjects(name)]).toSorted()
    const all = ['one', 'three', 'two'].map(name => `system:serviceaccount:accounts:${name}`)
    await until(async () => JSON.stringify(trusted()) === JSON.stringify(all))
    const before = new Map(['one', 'two', 'three'].map(name => [name, roleOf('accounts', 'ship', name)]))
    for (const [name, stored] of before) expect(subjects(stored)).to.include(`system:serviceaccount:accounts:${name}`)
    await removePod('accounts', 'two')
    await until(async () => JSON.stringify(trusted()) === JSON.stringify(all.filter(each => !each.endsWith('two'))))
    // A policy with a sink of its own takes the pods over.
    await policies.put('accounts', 'zz-sink', { selector: { matchExpressions: [{ key: 'no', operator: 'DoesNotExist' }] }, sink })
    await until(async () => iam.roles.has(roleOf('accounts', 'ship', 'one', 'zz-sink')) && !iam.roles.has(roleOf('accounts', 'ship', 'one')))
    await policies.says('accounts', 'tools', 'RoleReady', 'NoRoles')
    await until(async () => objectAt(await policies.get('accounts', 'tools'), 'metadata')['finalizers'] === undefined)
  })

  it('spreads many service accounts over several roles without moving one, and says when one is full', async () => {
    const long = (index: number): string => `${'account-'.repeat(28)}${String(index).padStart(3, '0')}`
    await createNamespace(server.client, 'many')
    await policies.put('many', 'tools', { selector: {} })
    for (let index = 0; index < 16; index++) await pod('many', `p-${index}`, long(index))
    const placed = (): string[] => rolesIn('many').flatMap(name => subjects(name).map(subject => `${name} ${subject}`))
    await until(async () => placed().length === 16)
    const before = placed()
    expect(rolesIn('many').length).to.be.greaterThan(3)
    for (let index = 16; index < 60; index++) await pod('many', `p-${index}`, long(index))
    expect(await policies.says('many', 'tools', 'RoleReady', 'TrustTooLong')).to.match(/^The trust of a role takes 2,048 characters, and \d+ service accounts do not fit/)
    expect(placed()).to.include.members(before)
    for (const name of rolesIn('many')) expect(role(name).trust.length).to.be.within(1, 2048)
  })

  it('leaves alone a role that is not its own, says whose it is, and does not ask again and again', async () => {
    iam.put(roleOf('stranger'), { trust: '{"mine":true}' })
    iam.put(roleOf('stranger', 'work'), { tags: { 'steno.dev/cluster': 'staging', 'steno.dev/namespace': 'stranger', 'steno.dev/policy': 'tools' } })
    await createNamespace(server.client, 'stranger')
    await pod('stranger', 'a')
    await policies.put('stranger', 'tools', { selector: {} })
    expect(await policies.says('stranger', 'tools', 'RoleReady', 'RoleNotOurs')).to.include("exists without Steno's tags")
    await policies.put('stranger', 'tools', { selector: {}, aws: { policyArns: [S3] } })
    await policies.says('stranger', 'tools', 'RoleReady', 'RoleNotOurs')
    iam.roles.delete(roleOf('stranger'))
    expect(await policies.says('stranger', 'tools', 'RoleReady', 'RoleOfAnotherCluster')).to.include('belongs to another cluster')
    expect(writesAbout(roleOf('stranger', 'work'))).to.deep.equal([])
    await remove('stranger')
    await until(async () => await isGone('stranger'))
    expect(rolesIn('stranger')).to.deep.equal([roleOf('stranger', 'work')])
    iam.roles.delete(roleOf('stranger', 'work'))
  })

  it('does not take over a role that a stranger makes at the same moment', async () => {
    await createNamespace(server.client, 'race')
    await pod('race', 'a')
    iam.fault = action => {
      if (action === 'iam:CreateRole' && !iam.roles.has(roleOf('race'))) iam.put(roleOf('race'), { trust: '{"mine":true}' })
      return undefined
    }
    await policies.put('race', 'tools', { selector: {} })
    await policies.says('race', 'tools', 'RoleReady', 'RoleNotOurs')
    expect(writesAbout(roleOf('race')).every(action => action === 'iam:CreateRole')).to.equal(true)
    expect(role(roleOf('race')).trust).to.equal('{"mine":true}')
    iam.roles.delete(roleOf('race'))
  })

  it('waits for a role that IAM does not know everywhere yet, and that cannot be taken on yet', async () => {
    iam.lag = { reads: 3, trust: 4 }
    await createNamespace(server.client, 'slow')
    await pod('slow', 'a')
    await policies.put('slow', 'tools', { selector: {} })
    const seen = new Set<unknown>()
    await until(async () => {
      const reason = findCondition(await policies.get('slow', 'tools'), 'RoleReady')?.['reason']
      seen.add(reason)
      return reason === 'RoleReady'
    })
    expect([...seen]).to.include('RolePropagating').and.to.not.include('RoleNotOurs')
    expect(writesAbout(roleOf('slow')).filter(action => action === 'iam:CreateRole').length).to.be.within(1, 4)
    expect(rolesIn('slow')).to.have.length(1)
    expect(await events('slow', 'RolePropagating')).to.deep.equal([])
  })

  it('says so when a role never can be taken on', async () => {
    iam.fault = (action, about) => (action === 'sts:AssumeRoleWithWebIdentity' && about.includes(roleOf('useless')) ? { status: 400, code: 'InvalidIdentityToken' } : undefined)
    await createNamespace(server.client, 'useless')
    await pod('useless', 'a')
    await policies.put('useless', 'tools', { selector: {} })
    expect(await policies.says('useless', 'tools', 'RoleReady', 'RoleNotAssumable')).to.include('InvalidIdentityToken')
    expect(findCondition(await policies.get('useless', 'tools'), 'Ready')).to.include({ status: 'False' })
  })

  it('reports a boundary that was taken off or exchanged, since it may not set it', async () => {
    await ready('unbound')
    role(roleOf('unbound')).boundary = undefined
    expect(await policies.says('unbound', 'tools', 'RoleReady', 'BoundaryDiffers')).to.include('has no permissions boundary')
    role(roleOf('unbound')).boundary = BOUNDARY
    await policies.says('unbound', 'tools', 'RoleReady', 'RoleReady')
  })

  it('reports policies that somebody else gave a role, and takes none off', async () => {
    await ready('foreign')
    role(roleOf('foreign')).attached.add('arn:aws:iam::aws:policy/AdministratorAccess')
    expect(await policies.says('foreign', 'tools', 'RoleReady', 'ForeignPolicies')).to.include('arn:aws:iam::aws:policy/AdministratorAccess')
    await remove('foreign')
    await until(async () => findCondition(await policies.get('foreign', 'tools'), 'RoleReady')?.['reason'] === 'DeleteBlocked')
    const kept = role(roleOf('foreign'))
    expect([[...kept.attached], [...kept.inline.keys()]]).to.deep.equal([['arn:aws:iam::aws:policy/AdministratorAccess'], ['steno']])
    kept.attached.clear()
    await until(async () => await isGone('foreign'))
    expect(rolesIn('foreign')).to.deep.equal([])
  })

  it('reports service accounts that give containers a role of their own', async () => {
    await ready('annotated')
    const path = '/api/v1/namespaces/annotated/serviceaccounts/default'
    const set = async (value: Json): Promise<void> => void (await server.client.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { metadata: { annotations: { 'eks.amazonaws.com/role-arn': value } } } }))
    await set('arn:aws:iam::123456789012:role/app')
    expect(await policies.says('annotated', 'tools', 'RoleReady', 'ServiceAccountHasRole')).to.include('on the service accounts default: remove it')
    await set(null)
    await policies.says('annotated', 'tools', 'RoleReady', 'RoleReady')
  })

  it('deletes roles in the order that IAM wants, and lets the policy go when they are gone', async () => {
    await ready('delete', { aws: { policyArns: [S3, SQS] } })
    const [ship, work] = [roleOf('delete'), roleOf('delete', 'work')]
    const before = [ship, work].map(name => writesAbout(name).length)
    await remove('delete')
    await until(async () => await isGone('delete'))
    expect(rolesIn('delete')).to.deep.equal([])
    expect(writesAbout(ship).slice(before[0])).to.deep.equal(['iam:DeleteRolePolicy', 'iam:DeleteRole'])
    expect(writesAbout(work).slice(before[1])).to.deep.equal(['iam:DetachRolePolicy', 'iam:DetachRolePolicy', 'iam:DeleteRole'])
  })

  it('keeps roles that are to be retained, and takes them up again', async () => {
    await ready('retain')
    await annotate('retain', { 'steno.dev/retain': 'true' })
    await remove('retain')
    await until(async () => await isGone('retain'))
    expect(rolesIn('retain')).to.deep.equal([roleOf('retain')])
    const before = writesAbout(roleOf('retain')).length
    await policies.put('retain', 'tools', { selector: {} })
    await policies.says('retain', 'tools', 'RoleReady', 'RoleReady')
    expect(writesAbout(roleOf('retain')).slice(before)).to.deep.equal(['iam:TagRole'])
  })

  it('keeps the policies of a namespace that goes while AWS is away, says so, and lets them go when it is back', async () => {
    await ready('away', { aws: { policyArns: [S3] } })
    iam.fault = () => 'reset'
    await server.client.request('/api/v1/namespaces/away', { method: 'DELETE' })
    // As the controller of namespaces does, which is not there.
    await removePod('away', 'a')
    await remove('away')
    await until(async () => findCondition(await policies.get('away', 'tools'), 'RoleReady')?.['reason'] === 'AwsUnreachable')
    expect(textAt(findCondition(await policies.get('away', 'tools'), 'RoleReady'), 'message')).to.include('The deletion of the policy and of its roles wait')
    expect(rolesIn('away')).to.have.length(2)
    iam.fault = undefined
    await until(async () => await isGone('away'))
    expect(rolesIn('away')).to.deep.equal([])
  })

  it('counts a DeleteConflict and a role that is gone already for what they are', async () => {
    await ready('conflict')
    iam.fault = (action, about) => (action === 'iam:DeleteRole' && about === roleOf('conflict') ? { status: 409, code: 'DeleteConflict' } : undefined)
    await remove('conflict')
    await until(async () => findCondition(await policies.get('conflict', 'tools'), 'RoleReady')?.['reason'] === 'DeleteBlocked')
    iam.fault = undefined
    iam.roles.delete(roleOf('conflict'))
    await until(async () => await isGone('conflict'))
  })

  describe('when AWS says no', () => {
    const again = async (times: Partial<typeof QUICK>): Promise<void> => {
      await operator.stop()
      await operate({}, times)
    }
    before(async () => await again({ firstRetryMs: 60_000, lastRetryMs: 600_000 }))
    after(async () => await again({}))
    const cases: readonly (readonly [code: string, status: number, reason: string])[] = [
      ['Throttling', 400, 'AwsThrottled'],
      ['ServiceFailure', 500, 'AwsUnreachable'],
      ['AccessDenied', 403, 'AwsDenied'],
      ['ExpiredToken', 403, 'AwsCredentials'],
      ['LimitExceeded', 409, 'AwsQuota'],
      ['MalformedPolicyDocument', 400, 'AwsRefused'],
    ]
    for (const [code, status, reason] of cases) {
      it(`${code}: says ${reason}, does not ask again whatever happens meanwhile, and goes on when it is over`, async () => {
        const name = `no-${code.toLowerCase()}`
        await createNamespace(server.client, name)
        await pod(name, 'a')
        let calls = 0
        iam.fault = (_action, about) => {
          if (about !== roleOf(name)) return undefined
          calls++
          return { status, code }
        }
        await policies.put(name, 'tools', { selector: {} })
        await policies.says(name, 'tools', 'RoleReady', reason)
        for (let index = 0; index < 5; index++) await pod(name, `b-${index}`)
        await until(async () => objectAt(objectAt(await policies.get(name, 'tools'), 'status'), 'pods')['selected'] === 6 && (await operator.metrics()).includes('workqueue_depth{name="role"} 0'))
        expect(calls).to.equal(1)
        iam.fault = undefined
        await policies.put(name, 'tools', { selector: {}, sink: { firehose: { stream: 'other', region: 'eu-west-1' } } })
        await policies.says(name, 'tools', 'RoleReady', 'RoleReady')
      })
    }
  })

  it('goes on with new credentials when its own were revoked', async () => {
    await ready('revoked')
    const asked = (): number => door.calls.filter(({ about }) => about === OPERATOR_ROLE).length
    const before = asked()
    iam.revoke()
    role(roleOf('revoked')).inline.clear()
    await until(async () => role(roleOf('revoked')).inline.has('steno'))
    await policies.says('revoked', 'tools', 'RoleReady', 'RoleReady')
    expect(asked() - before).to.be.within(1, 3)
  })

  it('may change no more of a policy than its finalizers', async () => {
    await ready('limits')
    const client = createKubeClient(account)
    const path = `${POLICY}/limits/sessionpolicies/tools`
    const attempt = async (body: JsonObject): Promise<unknown> => await client.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body }).catch((error: unknown) => error)
    for (const body of [{ spec: { onFailure: 'Allow' } }, { metadata: { annotations: { x: 'y' } } }, { metadata: { finalizers: ['steno.dev/roles', 'example.com/other'] } }]) {
      const refusal = await attempt(body)
      expect(refusal).to.be.instanceOf(KubeError)
      expect(String(refusal)).to.include('no more of a policy than its own finalizers')
    }
    await client.close()
  })

  describe('when rolePath of the installation is changed', () => {
    const move = async (namespace: string, permissions: typeof iam.permissions): Promise<void> => {
      await operator.stop()
      iam.permissions = permissions
      await operate({ rolePath: '/other/' })
      await policies.put(namespace, 'tools', { selector: {}, onFailure: 'Allow' })
    }
    const back = async (namespace: string): Promise<void> => {
      iam.permissions = undefined
      await remove(namespace)
      await until(async () => await isGone(namespace))
      iam.permissions = [operatorPolicy()]
      iam.refused.length = 0
      await operator.stop()
      await operate()
    }

    it('makes the role anew there', async () => {
      await ready('path')
      await move('path', undefined)
      await until(async () => iam.roles.get(roleOf('path'))?.path === '/other/')
      await until(async () => textAt(findCondition(await policies.get('path', 'tools'), 'RoleReady'), 'reason') === 'RoleReady')
      expect(stringsAt((await policies.get('path', 'tools'))['status'], 'roles')).to.deep.equal([role(roleOf('path')).arn])
      await back('path')
    })

    it('says what hangs on the old one when that cannot be deleted', async () => {
      await ready('hangs')
      role(roleOf('hangs')).attached.add(SQS)
      await move('hangs', undefined)
      expect(await policies.says('hangs', 'tools', 'RoleReady', 'DeleteBlocked')).to.include(roleOf('hangs')).and.to.include(SQS)
      role(roleOf('hangs')).attached.delete(SQS)
      await until(async () => iam.roles.get(roleOf('hangs'))?.path === '/other/')
      await back('hangs')
    })

    it('says so when the operator has rights to the new place only', async () => {
      await ready('denied')
      await move('denied', [operatorPolicy({ RolePath: '/other/' })])
      expect(await policies.says('denied', 'tools', 'RoleReady', 'RolePathChanged')).to.include(`Role ${role(roleOf('denied')).arn} has another path`).and.to.include('or set rolePath back')
      await back('denied')
    })
  })

  it('keeps a policy with roles when the account is not named any more, until its roles are to be let be', async () => {
    await ready('off')
    await operator.stop()
    operator = await startOperatorFor(account, { settings: settings() })
    await operator.leading
    expect(await policies.says('off', 'tools', 'RoleReady', 'AwsNotConfigured')).to.include(role(roleOf('off')).arn)
    await remove('off')
    expect(await isGone('off')).to.equal(false)
    await annotate('off', { 'steno.dev/retain': 'true' })
    await until(async () => await isGone('off'))
    expect(rolesIn('off')).to.deep.equal([roleOf('off')])
    iam.roles.delete(roleOf('off'))
    await operator.stop()
    await operate()
  })

  for (const [what, isIt] of [
    ['the finalizer', (path: string, body: string) => !path.includes('/status') && body.includes('steno.dev/roles')],
    ['that roles are being made', (path: string, body: string) => path.includes('/status') && body.includes('"Progressing"')],
  ] as const) {
    it(`makes the role of a pod that comes later at once, though the API server does not take ${what} at first`, async () => {
      const namespace = what === 'the finalizer' ? 'conflict-a' : 'conflict-b'
      await operator.stop()
      await operate({}, { checkMs: 3_600_000 })
      await createNamespace(server.client, namespace)
      await policies.put(namespace, 'tools', { selector: {} })
      await policies.says(namespace, 'tools', 'RoleReady', 'NoRoles')
      let refusals = 0
      operator.before = async (path, { method = 'GET', body }) => {
        if (method === 'GET' || !path.includes(`${namespace}/sessionpolicies`) || !isIt(path, JSON.stringify(body ?? '')) || refusals > 0) return
        refusals++
        throw new KubeError(500, 'InternalError', 'etcd is away')
      }
      await pod(namespace, 'a')
      await policies.says(namespace, 'tools', 'RoleReady', 'RoleReady')
      expect(refusals).to.equal(1)
      await operator.stop()
      await operate()
    })
  }

  it('makes no role without a boundary, and says what to set', async () => {
    await operator.stop()
    await operate({ boundary: undefined })
    await createNamespace(server.client, 'boundless')
    await pod('boundless', 'a')
    await policies.put('boundless', 'tools', { selector: {} })
    expect(await policies.says('boundless', 'tools', 'RoleReady', 'BoundaryNotSet')).to.include('set aws.boundary')
    expect(rolesIn('boundless')).to.deep.equal([])
    await operator.stop()
    await operate()
    await policies.says('boundless', 'tools', 'RoleReady', 'RoleReady')
  })

  it('works under any name of a cluster', async () => {
    await operator.stop()
    await operate({ ...AWS_SETTINGS, cluster: 'Größe 東京 (prod)' })
    iam.permissions = undefined
    await createNamespace(server.client, 'unicode')
    await pod('unicode', 'a')
    await policies.put('unicode', 'tools', { selector: {} })
    await policies.says('unicode', 'tools', 'RoleReady', 'RoleReady')
    const [name = ''] = rolesIn('unicode')
    expect(name).to.match(/^steno-gr-e-prod-unicode-[0-9a-f]{16}$/)
    expect(role(name).tags.get('steno.dev/cluster')).to.equal('Größe 東京 _prod_')
    await remove('unicode')
    await until(async () => await isGone('unicode'))
    await operator.stop()
    iam.permissions = [operatorPolicy()]
    await operate()
  })

  it('a leader that starts on a settled account asks little, and writes nothing', async () => {
    await ready('before', { aws: { policyArns: [S3] } })
    await operator.stop()
    door.calls.length = 0
    await operate({}, { checkMs: 3_600_000 })
    await ready('after')
    expect(door.writes()).to.deep.equal(['iam:CreateRole', 'iam:PutRolePolicy'])
    expect(door.calls.filter(({ about }) => about.includes('-before-'))).to.deep.equal([])
    await operator.stop()
    await operate()
  })
})
