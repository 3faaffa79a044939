/** Roles that the operator makes: who can take them on, with tokens of the cluster itself, at a token service that checks them by the cluster's keys. */

import { expect } from 'chai'

import { findCondition } from '../../src/kube/conditions.ts'
import { objectAt, stringsAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { INJECTOR_ROLE, WORKLOAD_POLICIES } from '../support/aws/operator-policy.ts'
import { altered, takeOn } from '../support/aws/take-on.ts'
import { clusterAccount, framesOf } from './aws.ts'
import type { ClusterAccount } from './aws.ts'
import { callOnce } from './client.ts'
import { apply, get, install, isReady, kubectl, nameOf, namespace, needCluster, pods, policy, rolledOut, server, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

const ACCOUNT_NAME = 'tools'
const AUDIENCE = 'sts.amazonaws.com'
/** The shortest that an API server gives. */
const TOKEN_SECONDS = 600
const POLICY_ARNS = WORKLOAD_POLICIES.slice(0, 1)

describe('roles of a policy in a cluster', function () {
  this.timeout(180_000)
  let aws: ClusterAccount
  let ns: Namespace
  let elsewhere: Namespace
  let pod: string
  let status: JsonObject
  /** ARN by purpose. */
  const roles = { ship: '', work: '' }

  const account = (namespaceName: string, name: string): JsonObject => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: namespaceName } })
  before(async function () {
    needCluster(this)
    this.timeout(300_000)
    aws = await clusterAccount()
    await install(aws.values, undefined, aws.texts)
    ;[ns, elsewhere] = await Promise.all([namespace('roles'), namespace('elsewhere')])
    await apply(account(ns.name, ACCOUNT_NAME), account(ns.name, 'neighbour'), account(elsewhere.name, ACCOUNT_NAME), policy(ns.name, { aws: { policyArns: [...POLICY_ARNS] } }), ...server(ns.name, 'server', { pod: { serviceAccountName: ACCOUNT_NAME } }))
    await rolledOut(ns.name)
    const [only] = (await pods(ns.name)).filter(isReady)
    pod = only === undefined ? '' : nameOf(only)
    // Ready only when the operator has taken them on with real tokens.
    status = await until('the roles', async () => {
      const found = await get('sessionpolicy', 'tools', '-n', ns.name)
      const ready = findCondition(found, 'RoleReady')
      if (ready?.['status'] !== 'True' || ready['reason'] !== 'RoleReady') throw new Error(JSON.stringify(ready))
      return objectAt(found, 'status')
    })
    for (const { arn, inline } of aws.iam.roles.values()) roles[inline.size > 0 ? 'ship' : 'work'] = arn
  })
  after(async () => {
    await Promise.all([ns?.remove(), elsewhere?.remove()])
    await aws?.close()
  })

  const tokenOf = async (namespaceName: string, name: string, audience = AUDIENCE): Promise<string> => (await kubectl(['create', 'token', name, '-n', namespaceName, '--audience', audience, '--duration', `${TOKEN_SECONDS}s`])).trim()
  const inPod = async (container: string, path: string): Promise<string> => (await kubectl(['exec', pod, '-n', ns.name, '-c', container, '--', '/usr/bin/node', '-p', `fs.readFileSync('/var/run/secrets/${path}', 'utf8')`])).trim()
  /** What the token service says to each role. */
  const answers = async (token: string): Promise<Readonly<Record<string, string>>> => {
    const answer = async (arn: string): Promise<string> => {
      const given = await takeOn(aws.iam.endpoint, arn, token)
      return typeof given === 'string' ? given : 'credentials'
    }
    return { ship: await answer(roles.ship), work: await answer(roles.work) }
  }
  const both = (says: string): Readonly<Record<string, string>> => ({ ship: says, work: says })

  it('are made by the operator under its own policy alone, and said to be ready', () => {
    expect(stringsAt(status, 'roles')).to.have.members([roles.ship, roles.work])
    expect([...aws.iam.roles.values()].map(({ arn, attached }) => [arn, [...attached]])).to.have.deep.members([[roles.ship, []], [roles.work, POLICY_ARNS]])
    expect(aws.iam.refused).to.deep.equal([])
  })

  it('let the recorder ship, and the injector with its own', async () => {
    expect(await callOnce(await urlOf(ns.name), 'answer', { id: 'role' })).to.equal('answer-role')
    const shippers = async (seen: string): Promise<readonly (string | undefined)[]> =>
      await until(seen, async () => {
        const found = aws.firehose.calls.filter(({ records }) => framesOf(Buffer.concat(records)).some(frame => JSON.stringify(frame).includes(seen)))
        return found.length > 0 ? [...new Set(found.map(({ role }) => role))] : undefined
      })
    expect(await shippers('answer-role')).to.deep.equal([roles.ship])
    await inPod('server', 'kubernetes.io/serviceaccount/namespace')
    expect(await shippers('"action":"exec"')).to.deep.equal([INJECTOR_ROLE])
  })

  it('can be taken on by the service account of the pod, as the recorder in it has it', async () => {
    expect(await answers(await inPod('steno-recorder', 'steno.dev/aws/token'))).to.deep.equal(both('credentials'))
    expect(await answers(await tokenOf(ns.name, ACCOUNT_NAME))).to.deep.equal(both('credentials'))
  })

  it('can be taken on by no neighbour, by no token for somebody else, and by none that is forged or has ended', async () => {
    expect(await answers(await tokenOf(ns.name, 'neighbour')), 'a neighbour').to.deep.equal(both('AccessDenied'))
    expect(await answers(await tokenOf(ns.name, 'default')), 'the default account').to.deep.equal(both('AccessDenied'))
    expect(await answers(await tokenOf(elsewhere.name, ACCOUNT_NAME)), 'the same name elsewhere').to.deep.equal(both('AccessDenied'))
    expect(await answers(await tokenOf(ns.name, ACCOUNT_NAME, 'https://elsewhere.example')), 'another audience').to.deep.equal(both('InvalidIdentityToken'))
    expect(await answers(await inPod('server', 'kubernetes.io/serviceaccount/token')), 'what the server has').to.deep.equal(both('InvalidIdentityToken'))
    expect(await answers(altered(await tokenOf(ns.name, 'neighbour'), { sub: `system:serviceaccount:${ns.name}:${ACCOUNT_NAME}` })), 'a forged one').to.deep.equal(both('InvalidIdentityToken'))
    const token = await tokenOf(ns.name, ACCOUNT_NAME)
    aws.iam.tokensAheadMs = (TOKEN_SECONDS + 30) * 1000
    try {
      expect(await answers(token), 'one that has ended').to.deep.equal(both('ExpiredTokenException'))
    } finally {
      aws.iam.tokensAheadMs = 0
    }
    expect(await answers(token), 'the same before').to.deep.equal(both('credentials'))
  })

  it('go with the policy, and let nobody in any more', async () => {
    await kubectl(['delete', 'sessionpolicy', 'tools', '-n', ns.name, '--timeout=60s'])
    expect([...aws.iam.roles.keys()]).to.deep.equal([])
    expect(await answers(await tokenOf(ns.name, ACCOUNT_NAME))).to.deep.equal(both('AccessDenied'))
    expect(aws.iam.refused).to.deep.equal([])
  })
})
