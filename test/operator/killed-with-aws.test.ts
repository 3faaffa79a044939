/** A leader that is killed before or after any call to AWS, or any write to the API server, leaves nothing that the next does not find and put right. */

import { expect } from 'chai'
import fc from 'fast-check'

import { KubeError } from '../../src/kube/client.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { startIamDouble } from '../support/aws/iam.ts'
import type { IamDouble } from '../support/aws/iam.ts'
import { ISSUER, planeAt, providerOf, QUICK, settingsWithAws } from '../support/aws/installation.ts'
import { operatorPolicy } from '../support/aws/operator-policy.ts'
import { openDoor } from '../support/aws/watched.ts'
import { createNamespace, installCrd, kubeAssets, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { found, policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

const LEASE = '/apis/coordination.k8s.io/v1/namespaces/steno-system/leases/steno-operator'
const S3 = 'arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'
const ENGINEER = 'arn:aws:iam::123456789012:role/engineer'
const SPEC: JsonObject = { selector: {}, access: { connect: [{ role: ENGINEER }] }, aws: { policyArns: [S3] } }
/** Random ones, beside the sweep. More with STENO_SCHEDULES. */
const SCHEDULES = Number(process.env['STENO_SCHEDULES'] ?? 6)
/** What is there outside is the same after one thing and before the next: a whole life is swept once, unless time is given. */
const LIVES: readonly Moment[] = process.env['STENO_SCHEDULES'] === undefined ? ['before'] : ['before', 'after']

type Moment = 'before' | 'after'
interface Kill {
  /** The nth thing that is done outside. */
  readonly nth: number
  readonly moment: Moment
}

describe('the end of an operator that works in AWS, on a real API server', function () {
  this.timeout(300_000)
  let server: ApiServer
  let policies: Policies
  let aws: IamDouble

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets, { issuer: ISSUER })
    await installCrd(server.client)
    await createNamespace(server.client, 'steno-system')
    aws = await startIamDouble({ providers: [await providerOf(server)] })
    aws.permissions = [operatorPolicy()]
    policies = policiesOf(server.client)
  })
  after(async () => {
    await aws?.close()
    await server?.stop()
  })

  const path = (namespace: string): string => `/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies/tools`
  const start = async (kill?: Kill): Promise<{ readonly operator: OperatorUnderTest; readonly dead: Promise<void>; readonly isDead: () => boolean; readonly stop: () => Promise<void> }> => {
    const door = await openDoor(aws.endpoint)
    const dead = Promise.withResolvers<void>()
    let seen = 0
    let isDead = false
    const strikes = (moment: Moment): boolean => {
      if (isDead) return true
      if (kill?.moment !== moment || seen++ !== kill.nth) return false
      isDead = true
      dead.resolve()
      return true
    }
    door.before = () => (strikes('before') ? 'shut' : 'pass')
    door.after = () => (strikes('after') ? 'shut' : 'pass')
    const operator = await startOperatorFor(server.cluster, { settings: settingsWithAws(), controlPlane: planeAt(door.endpoint), awsTimes: { ...QUICK, checkMs: 3_600_000 } })
    // From its end on it reaches nobody, as a process that was killed. Of its writes, those about roles and entries are points to die at.
    const write = (moment: Moment) => async (at: string, { method = 'GET', body }: { readonly method?: string; readonly body?: unknown }): Promise<void> => {
      const ours = method !== 'GET' && (/fieldManager=steno-(?:role|entries)/.test(at) || at.endsWith('/token') || JSON.stringify(body ?? '').includes('"finalizers"'))
      if (isDead || (ours && strikes(moment))) throw new KubeError(0, 'Dead', 'killed')
    }
    operator.before = write('before')
    operator.after = write('after')
    const stop = async (): Promise<void> => {
      const wasDead = isDead
      await operator.stop()
      await door.close()
      if (wasDead) await server.client.request(LEASE, { method: 'DELETE' }).catch(() => {})
    }
    return { operator, dead: dead.promise, isDead: () => isDead, stop }
  }
  const rolesIn = (namespace: string): JsonObject[] => [...aws.roles.values()].filter(({ tags }) => tags.get('steno.dev/namespace') === namespace).map(({ attached, inline, tags }) => ({ attached: [...attached], inline: [...inline.keys()], marks: tags.get('steno.dev/attached') ?? '' })).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  const isGone = async (namespace: string): Promise<boolean> => (await found(server.client, path(namespace))) === undefined
  const prepare = async (namespace: string): Promise<void> => {
    await createNamespace(server.client, namespace)
    await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { containers: [{ name: 'server', image: 'x' }] } } })
    await policies.put(namespace, 'tools', SPEC)
  }
  const isReady = async (namespace: string): Promise<void> => {
    await policies.says(namespace, 'tools', 'RoleReady', 'RoleReady')
    await policies.says(namespace, 'tools', 'EntriesReady', 'EntriesReady')
  }
  const expectWhole = async (namespace: string): Promise<void> => {
    await isReady(namespace)
    const [work, ship] = rolesIn(namespace).toSorted((a, b) => (JSON.stringify(a['attached']) > JSON.stringify(b['attached']) ? 1 : -1))
    expect(rolesIn(namespace)).to.have.length(2)
    expect([work?.['attached'], ship?.['inline']].map(each => JSON.stringify(each)).toSorted()).to.deep.equal([JSON.stringify([S3]), '["steno"]'].toSorted())
    expect(aws.entries.get(ENGINEER)?.groups).to.deep.equal([`steno:${ENGINEER}`])
    expect(objectsAt(objectAt(await policies.get(namespace, 'tools'), 'status'), 'conditions').filter(each => textAt(each, 'status') !== 'True' && /^(?:Role|Entries)/.test(textAt(each, 'type') ?? ''))).to.deep.equal([])
  }
  const expectNothing = async (namespace: string): Promise<void> => {
    await until(async () => await isGone(namespace), 20_000)
    expect(rolesIn(namespace)).to.deep.equal([])
    expect([...aws.entries.keys()]).to.deep.equal([])
    expect(aws.refused).to.deep.equal([])
  }

  /** @returns whether it was killed at all while it made things, and while it took them away */
  const live = async (namespace: string, making: Kill, taking: Kill): Promise<readonly [boolean, boolean]> => {
    const first = await start(making)
    await first.operator.leading
    await prepare(namespace)
    await Promise.race([first.dead, isReady(namespace).catch(() => {})])
    const killedMaking = first.isDead()
    await first.stop()
    const second = await start()
    await second.operator.leading
    await expectWhole(namespace)
    await second.stop()
    const third = await start(taking)
    await third.operator.leading
    await server.client.request(path(namespace), { method: 'DELETE' })
    await Promise.race([third.dead, until(async () => await isGone(namespace), 20_000)])
    const killedTaking = third.isDead()
    await third.stop()
    const fourth = await start()
    await fourth.operator.leading
    await expectNothing(namespace)
    await fourth.stop()
    return [killedMaking, killedTaking]
  }

  /** The policy goes before anybody has put right what was left half done. @returns whether it was killed at all */
  const die = async (namespace: string, making: Kill): Promise<boolean> => {
    const first = await start(making)
    await first.operator.leading
    await prepare(namespace)
    await Promise.race([first.dead, isReady(namespace).catch(() => {})])
    const killed = first.isDead()
    await first.stop()
    await server.client.request(path(namespace), { method: 'DELETE' })
    const second = await start()
    await second.operator.leading
    await expectNothing(namespace)
    await second.stop()
    return killed
  }

  for (const moment of ['before', 'after'] as const) {
    it(`killed ${moment} each thing that it does outside, and the policy deleted before another leads: nothing is left`, async () => {
      let nth = 0
      for (let goesOn = true; goesOn; nth++) goesOn = await die(`gone-${moment}-${nth}`, { nth, moment })
      expect(nth).to.be.greaterThan(12)
    })

    if (!LIVES.includes(moment)) continue
    it(`killed ${moment} each thing that it does outside, one after another: the next leader ends where it would have`, async () => {
      let nth = 0
      for (let goesOn = true; goesOn; nth++) goesOn = (await live(`${moment}-${nth}`, { nth, moment }, { nth, moment })).includes(true)
      // Finalizers, intents, conditions, tokens and calls: each was a point once.
      expect(nth).to.be.greaterThan(12)
    })
  }

  it(`killed at random, while IAM is slow to know (${SCHEDULES} schedules)`, async () => {
    let number = 0
    const kill = fc.record({ nth: fc.integer({ min: 0, max: 24 }), moment: fc.constantFrom<Moment>('before', 'after') })
    await fc.assert(
      fc.asyncProperty(kill, kill, fc.integer({ min: 0, max: 2 }), async (making, taking, reads) => {
        aws.lag = { reads, trust: reads }
        await live(`random-${number}`, making, taking)
        await die(`random-gone-${number++}`, making)
      }),
      { numRuns: SCHEDULES },
    )
    aws.lag = { reads: 0, trust: 0 }
  })
})
