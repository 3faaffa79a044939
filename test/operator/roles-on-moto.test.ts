/** The whole life of a policy's roles on a real API server and moto. Calls are counted at a door before it. */

import { expect } from 'chai'
import { AttachRolePolicyCommand, CreatePolicyCommand, DetachRolePolicyCommand, GetRoleCommand, IAMClient, ListAttachedRolePoliciesCommand, ListRolesCommand, UpdateAssumeRolePolicyCommand } from '@aws-sdk/client-iam'

import { findCondition } from '../../src/kube/conditions.ts'
import { roleName, rolePart } from '../../src/policy/aws-roles.ts'
import { STATIC_KEYS } from '../support/aws/double.ts'
import { BOUNDARY, planeAt, QUICK, settingsWithAws } from '../support/aws/installation.ts'
import { HOW_TO_INSTALL, startMoto } from '../support/aws/moto.ts'
import type { Moto } from '../support/aws/moto.ts'
import { openDoor } from '../support/aws/watched.ts'
import type { Door } from '../support/aws/watched.ts'
import { digest } from '../support/golden-pods.ts'
import { createNamespace, kubeAssets, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator, TABLES_WITH_AWS } from '../support/operator-account.ts'
import { found, policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

const POLICY = '/apis/steno.dev/v1alpha1/namespaces/life/sessionpolicies/tools'

describe('roles in IAM, on a real API server and moto', function () {
  this.timeout(60_000)
  let server: ApiServer
  let moto: Moto
  let door: Door
  let iam: IAMClient
  let operator: OperatorUnderTest
  let policies: Policies
  let [readOnly, writer] = ['', '']

  before(async function () {
    this.timeout(120_000)
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    const started = await startMoto()
    if (started === undefined) {
      if (process.env['CI'] === 'true') throw new Error(HOW_TO_INSTALL)
      console.error(`      skipped: ${HOW_TO_INSTALL}`)
      return this.skip()
    }
    moto = started
    const cluster = await startForOperator(assets, TABLES_WITH_AWS)
    server = cluster.server
    const { account } = cluster
    iam = new IAMClient({ region: 'eu-west-1', endpoint: moto.endpoint, credentials: { accessKeyId: STATIC_KEYS.id, secretAccessKey: STATIC_KEYS.secret } })
    const managed = async (name: string): Promise<string> => (await iam.send(new CreatePolicyCommand({ PolicyName: name, PolicyDocument: '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}' }))).Policy?.Arn ?? ''
    await managed('steno-boundary')
    ;[readOnly, writer] = [await managed('read-only'), await managed('writer')]
    door = await openDoor(moto.endpoint)
    operator = await startOperatorFor(account, { settings: settingsWithAws(), controlPlane: planeAt(door.endpoint), awsTimes: QUICK })
    await operator.leading
    policies = policiesOf(server.client)
  })
  after(async () => {
    await operator?.stop()
    iam?.destroy()
    await door?.close()
    await moto?.close()
    await server?.stop()
  })

  const nameOf = (purpose: 'ship' | 'work'): string => {
    const { aws } = settingsWithAws()
    return aws === undefined ? expect.fail('no account') : roleName(aws, { namespace: 'life', policy: 'tools', purpose, part: rolePart('default', digest) }, digest)
  }
  const attached = async (): Promise<readonly (string | undefined)[]> => (await iam.send(new ListAttachedRolePoliciesCommand({ RoleName: nameOf('work') }))).AttachedPolicies?.map(each => each.PolicyArn) ?? []
  const trust = async (): Promise<string> => decodeURIComponent((await iam.send(new GetRoleCommand({ RoleName: nameOf('ship') }))).Role?.AssumeRolePolicyDocument ?? '')
  const compared = async (times = 2): Promise<void> => {
    const before = door.calls.length
    await until(async () => door.calls.slice(before).filter(({ action, about }) => action === 'iam:GetRole' && about === nameOf('work')).length >= times)
  }

  it('are made, changed, put right with one write each, and deleted when AWS is back', async () => {
    await createNamespace(server.client, 'life')
    await server.client.request('/api/v1/namespaces/life/pods', { method: 'POST', body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { containers: [{ name: 'server', image: 'x' }] } } })
    await policies.put('life', 'tools', { selector: {}, aws: { policyArns: [readOnly] } })
    await policies.says('life', 'tools', 'RoleReady', 'RoleReady')
    expect(door.writes()).to.deep.equal(['iam:CreateRole', 'iam:PutRolePolicy', 'iam:CreateRole', 'iam:AttachRolePolicy'])
    const { Role } = await iam.send(new GetRoleCommand({ RoleName: nameOf('ship') }))
    expect([Role?.Path, Role?.PermissionsBoundary?.PermissionsBoundaryArn, Role?.Tags?.length]).to.deep.equal(['/steno/', BOUNDARY, 5])
    await compared(3)
    expect(door.writes()).to.have.length(4)

    await policies.put('life', 'tools', { selector: {}, aws: { policyArns: [writer] } })
    await policies.says('life', 'tools', 'RoleReady', 'RoleReady')
    expect(await attached()).to.deep.equal([writer])
    expect(door.writes().slice(4)).to.deep.equal(['iam:TagRole', 'iam:AttachRolePolicy', 'iam:DetachRolePolicy', 'iam:TagRole'])

    await compared()
    await iam.send(new DetachRolePolicyCommand({ RoleName: nameOf('work'), PolicyArn: writer }))
    await until(async () => (await attached()).includes(writer))
    await compared()
    expect(door.writes().slice(8)).to.deep.equal(['iam:AttachRolePolicy'])

    const right = await trust()
    await iam.send(new UpdateAssumeRolePolicyCommand({ RoleName: nameOf('ship'), PolicyDocument: right.replace(':default', ':evil') }))
    await until(async () => (await trust()) === right)
    await compared()
    expect(door.writes().slice(9)).to.deep.equal(['iam:UpdateAssumeRolePolicy'])

    // Somebody else's policy keeps the role, AWS that is away keeps both.
    await iam.send(new AttachRolePolicyCommand({ RoleName: nameOf('work'), PolicyArn: readOnly }))
    await policies.says('life', 'tools', 'RoleReady', 'ForeignPolicies')
    door.before = () => 'shut'
    await server.client.request('/api/v1/namespaces/life', { method: 'DELETE' })
    await server.client.request(POLICY, { method: 'DELETE' })
    const says = async (reason: string): Promise<boolean> => findCondition(await policies.get('life', 'tools'), 'RoleReady')?.['reason'] === reason
    await until(async () => await says('AwsUnreachable'))
    door.before = undefined
    await until(async () => await says('DeleteBlocked'))
    await iam.send(new DetachRolePolicyCommand({ RoleName: nameOf('work'), PolicyArn: readOnly }))
    await until(async () => (await found(server.client, POLICY)) === undefined)
    expect((await iam.send(new ListRolesCommand({ PathPrefix: '/steno/' }))).Roles).to.deep.equal([])
  })
})
