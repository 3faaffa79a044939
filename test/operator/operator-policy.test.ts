/** `hack/aws/operator.yaml`: what the operator may do in AWS, statement by statement, against what its code does. */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

import { expect } from 'chai'

import { isObject, objectAt, objectsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { BOUNDARY } from '../support/aws/installation.ts'
import { operatorPolicy, operatorResources, OPERATOR_TEMPLATE, WORKLOAD_POLICIES } from '../support/aws/operator-policy.ts'
import { isAllowed } from '../support/aws/policy-rules.ts'
import type { AskedAction } from '../support/aws/policy-rules.ts'

const ROLE = 'arn:aws:iam::123456789012:role/steno/steno-prod-team-a-0'
const CLUSTER = 'arn:aws:eks:eu-west-1:123456789012:cluster/prod'
const ENTRY = 'arn:aws:eks:eu-west-1:123456789012:access-entry/prod/role/123456789012/engineer/1'
const OURS = { 'aws:resourcetag/steno.dev/cluster': 'prod' }
const MINE = { 'aws:requesttag/steno.dev/cluster': 'prod' }
const BOUND = { 'iam:permissionsboundary': BOUNDARY }
/** Of a role that access.connect may name. */
const ENGINEER = { 'eks:principalarn': 'arn:aws:iam::123456789012:role/teams/engineer', 'eks:accessentrytype': 'STANDARD' }
const GROUPED = { 'eks:kubernetesgroups': ['steno:x'] }
const THEIRS = { 'aws:resourcetag/steno.dev/cluster': 'staging' }

function texts(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)]
}

describe("the operator's own policy", () => {
  it('has nothing that cfn-lint finds, not even advice', function () {
    this.timeout(60_000)
    const { error, status, stdout, stderr } = spawnSync(process.env['STENO_CFN_LINT'] ?? 'cfn-lint', ['--non-zero-exit-code', 'informational'], { input: OPERATOR_TEMPLATE, encoding: 'utf8', timeout: 50_000 })
    if (error !== undefined) {
      if (process.env['CI'] === 'true') throw new Error('cfn-lint is not installed, see CONTRIBUTING.md', { cause: error })
      return this.skip()
    }
    expect(status, stdout + stderr).to.equal(0)
  })

  it('grants exactly the actions that the code calls', () => {
    const source = ['iam', 'eks'].map(name => readFileSync(new URL(`../../src/platform/aws/${name}.ts`, import.meta.url), 'utf8')).join('')
    const called = new Set([...source.matchAll(/'((?:iam|eks):[A-Z][A-Za-z]+)'/g)].map(match => match[1] ?? ''))
    // Making an access entry with tags asks for it too.
    called.add('eks:TagResource')
    const granted = objectsAt(operatorPolicy(), 'Statement').filter(each => each['Effect'] === 'Allow').flatMap(each => texts(each['Action']))
    expect(granted.toSorted()).to.deep.equal([...called].toSorted())
  })

  it('names no wildcard but below its own path, its own entries, and in what it denies', () => {
    for (const statement of objectsAt(operatorPolicy(), 'Statement').filter(each => each['Effect'] === 'Allow')) {
      expect(texts(statement['Action']).filter(action => action.includes('*'))).to.deep.equal([])
      for (const resource of texts(statement['Resource'])) expect(resource).to.match(/^arn:aws:(?:iam::123456789012:role\/steno\/\*|eks:eu-west-1:123456789012:(?:cluster\/prod|access-entry\/prod\/\*))$/)
    }
  })

  const cases: readonly (readonly [allowed: boolean, what: string, asked: AskedAction])[] = [
    [true, 'makes a role with its boundary and tag', { action: 'iam:CreateRole', resource: ROLE, context: { ...BOUND, ...MINE } }],
    [false, 'makes no role without a boundary', { action: 'iam:CreateRole', resource: ROLE, context: MINE }],
    [false, 'makes no role with another boundary', { action: 'iam:CreateRole', resource: ROLE, context: { ...MINE, 'iam:permissionsboundary': 'arn:aws:iam::aws:policy/AdministratorAccess' } }],
    [false, 'makes no role without its tag', { action: 'iam:CreateRole', resource: ROLE, context: BOUND }],
    [false, 'makes no role elsewhere', { action: 'iam:CreateRole', resource: 'arn:aws:iam::123456789012:role/admin', context: { ...BOUND, ...MINE } }],
    [true, 'looks at a role below its path', { action: 'iam:GetRole', resource: ROLE, context: {} }],
    [false, 'looks at no other role', { action: 'iam:GetRole', resource: 'arn:aws:iam::123456789012:role/admin', context: OURS }],
    [true, 'gives its role a policy', { action: 'iam:PutRolePolicy', resource: ROLE, context: { ...BOUND, ...OURS } }],
    [false, 'gives no policy to a role without a boundary', { action: 'iam:PutRolePolicy', resource: ROLE, context: OURS }],
    [false, 'gives no policy to a role of another cluster', { action: 'iam:PutRolePolicy', resource: ROLE, context: { ...BOUND, ...THEIRS } }],
    [true, 'attaches a policy of the list', { action: 'iam:AttachRolePolicy', resource: ROLE, context: { ...BOUND, ...OURS, 'iam:policyarn': WORKLOAD_POLICIES[0] ?? '' } }],
    [false, 'attaches no policy that is not in the list', { action: 'iam:AttachRolePolicy', resource: ROLE, context: { ...BOUND, ...OURS, 'iam:policyarn': 'arn:aws:iam::aws:policy/AdministratorAccess' } }],
    [true, 'changes the trust of its role', { action: 'iam:UpdateAssumeRolePolicy', resource: ROLE, context: OURS }],
    [false, 'changes the trust of no role that is untagged', { action: 'iam:UpdateAssumeRolePolicy', resource: ROLE, context: {} }],
    [true, 'deletes its role', { action: 'iam:DeleteRole', resource: ROLE, context: OURS }],
    [false, 'deletes no role of another cluster', { action: 'iam:DeleteRole', resource: ROLE, context: THEIRS }],
    [true, 'marks a role that it makes', { action: 'iam:TagRole', resource: ROLE, context: MINE }],
    [false, 'makes no role of another cluster its own by a tag', { action: 'iam:TagRole', resource: ROLE, context: { ...MINE, ...THEIRS } }],
    [false, 'takes no boundary off', { action: 'iam:DeleteRolePermissionsBoundary', resource: ROLE, context: { ...BOUND, ...OURS } }],
    [false, 'sets no boundary', { action: 'iam:PutRolePermissionsBoundary', resource: ROLE, context: { ...BOUND, ...OURS } }],
    [false, 'does not widen the boundary', { action: 'iam:CreatePolicyVersion', resource: BOUNDARY, context: {} }],
    [false, 'passes no role', { action: 'iam:PassRole', resource: ROLE, context: OURS }],
    [true, 'makes an access entry for its group', { action: 'eks:CreateAccessEntry', resource: CLUSTER, context: { ...MINE, ...ENGINEER, ...GROUPED } }],
    [false, 'makes none for another group', { action: 'eks:CreateAccessEntry', resource: CLUSTER, context: { ...MINE, ...ENGINEER, 'eks:kubernetesgroups': ['steno:x', 'system:masters'] } }],
    [false, 'makes none without a group', { action: 'eks:CreateAccessEntry', resource: CLUSTER, context: { ...MINE, ...ENGINEER } }],
    [false, 'makes none of a node', { action: 'eks:CreateAccessEntry', resource: CLUSTER, context: { ...MINE, ...ENGINEER, ...GROUPED, 'eks:accessentrytype': 'EC2_LINUX' } }],
    [false, 'makes none for a role that is not in the list, such as that of nodes', { action: 'eks:CreateAccessEntry', resource: CLUSTER, context: { ...MINE, ...ENGINEER, ...GROUPED, 'eks:principalarn': 'arn:aws:iam::123456789012:role/nodes' } }],
    [false, 'makes none for a role of another account', { action: 'eks:CreateAccessEntry', resource: CLUSTER, context: { ...MINE, ...ENGINEER, ...GROUPED, 'eks:principalarn': 'arn:aws:iam::999999999999:role/teams/engineer' } }],
    [false, 'makes none of another cluster', { action: 'eks:CreateAccessEntry', resource: CLUSTER.replace('prod', 'other'), context: { ...MINE, ...ENGINEER, ...GROUPED } }],
    [false, "puts nobody else's entry into a group", { action: 'eks:UpdateAccessEntry', resource: ENTRY, context: { 'eks:kubernetesgroups': ['steno:x'] } }],
    [false, "deletes nobody else's entry", { action: 'eks:DeleteAccessEntry', resource: ENTRY, context: {} }],
    [false, 'gives no access policy', { action: 'eks:AssociateAccessPolicy', resource: ENTRY, context: OURS }],
  ]
  for (const [allowed, what, asked] of cases) it(what, () => expect(isAllowed([operatorPolicy()], asked)).to.equal(allowed))

  it('attaches nothing and lets nobody in where the parameters do not say so', () => {
    const bare = objectsAt(operatorPolicy({ WorkloadPolicyArns: [''], ConnectRoleArns: [''] }), 'Statement').filter(each => each['Effect'] === 'Allow').flatMap(each => texts(each['Action']))
    expect(bare.filter(action => action === 'iam:AttachRolePolicy' || action.startsWith('eks:'))).to.deep.equal([])
  })

  for (const [name, account] of [['OperatorRole', 'steno-operator'], ['InjectorRole', 'steno-injector']] as const) {
    it(`stands beside a trust of ${name} in the service account ${account} alone`, () => {
      const trust: unknown = JSON.parse(String(objectAt(objectAt(operatorResources(), name), 'Properties')['AssumeRolePolicyDocument']))
      const [statement] = isObject(trust) ? objectsAt(trust, 'Statement') : []
      expect(objectAt(objectAt(statement, 'Condition'), 'StringEquals')).to.deep.equal({
        'oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF:aud': 'sts.amazonaws.com',
        'oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF:sub': `system:serviceaccount:steno-system:${account}`,
      })
    })
  }

  it('leaves its roles what they need, and nothing of IAM', () => {
    const boundary = (parameters: JsonObject): JsonObject => objectAt(objectAt(objectAt(operatorResources(parameters as Readonly<Record<string, Json>>), 'Boundary'), 'Properties'), 'PolicyDocument')
    const put: AskedAction = { action: 'firehose:PutRecordBatch', resource: 'arn:aws:firehose:eu-west-1:123456789012:deliverystream/steno', context: {} }
    expect([isAllowed([boundary({})], put), isAllowed([boundary({ StreamArns: ['arn:aws:firehose:eu-west-1:123456789012:deliverystream/other'] })], put)]).to.deep.equal([true, false])
    const get: AskedAction = { action: 's3:GetObject', resource: 'arn:aws:s3:::b/k', context: {} }
    expect([isAllowed([boundary({})], get), isAllowed([boundary({ WorkloadActions: ['s3:Get*', 's3:List*'] })], get)]).to.deep.equal([false, true])
    expect(isAllowed([boundary({ WorkloadActions: ['s3:*'] })], { action: 'iam:CreateUser', resource: '*', context: {} })).to.equal(false)
  })

  it('is judged by rules that do not pass over what they do not know', () => {
    const odd = { Statement: [{ Effect: 'Allow', Action: 'iam:GetRole', Resource: '*', Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } } }] }
    expect(() => isAllowed([odd], { action: 'iam:GetRole', resource: ROLE, context: {} })).to.throw('IpAddress is not known')
  })
})
