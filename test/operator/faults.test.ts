/** An API server that goes wrong: the operator neither ends nor asks without a break, and says what is true when it can again. */

import { expect } from 'chai'

import { numberAt, objectAt, objectsAt } from '../../src/policy/json.ts'
import { startFaultyApi } from '../support/faulty-api.ts'
import type { ApiFault, FaultyApi } from '../support/faulty-api.ts'
import { createNamespace, kubeAssets, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator } from '../support/operator-account.ts'
import { policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

const FAULTS: readonly ApiFault[] = ['throttled', 'broken', 'reset', 'silent', 'gone', 'unauthorized']
/** How long it goes wrong, at least, and attempts that are waited for: one that asks without a break makes thousands in that time. */
const FAULT_MS = 1500
const ATTEMPTS = 8
/** At once, and then in a second: ten copies that try again after 0.1 to 0.5 s, and queues that wait longer each time. */
const AT_ONCE = 100
const PER_SECOND = 150

describe('the operator before an API server that goes wrong', function () {
  this.timeout(180_000)
  let server: ApiServer
  let api: FaultyApi
  let operator: OperatorUnderTest
  let policies: Policies
  let token: string | undefined

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    const started = await startForOperator(assets)
    server = started.server
    const { account } = started
    api = await startFaultyApi({ ...account, token: async () => token ?? (await account.token()) })
    operator = await startOperatorFor(api.cluster, { election: { leaseMs: 120_000, renewMs: 100_000, retryMs: 100 }, reflector: { quietMs: 2000, maxWaitMs: 500 } })
    await operator.leading
    policies = policiesOf(server.client)
  })
  after(async () => {
    await operator?.stop()
    await api?.close()
    await server?.stop()
  })

  /** Breaks it, changes a policy meanwhile, waits for attempts, and mends it. */
  const suffer = async (namespace: string, begin: () => void, end: () => void): Promise<void> => {
    await createNamespace(server.client, namespace)
    await policies.put(namespace, 'tools', { selector: {} })
    await policies.says(namespace, 'tools', 'Ready', 'Ready')
    const before = api.asked
    const began = performance.now()
    begin()
    api.cut()
    await policies.put(namespace, 'tools', { selector: {}, onFailure: 'Allow' })
    await until(async () => api.asked - before > ATTEMPTS && performance.now() - began > FAULT_MS)
    const seconds = (performance.now() - began) / 1000
    const asked = api.asked - before
    // What it said is of the generation that it knew.
    const stale = await policies.get(namespace, 'tools')
    for (const condition of objectsAt(objectAt(stale, 'status'), 'conditions')) expect(numberAt(condition, 'observedGeneration')).to.be.at.most(numberAt(stale['metadata'], 'generation') ?? 0)
    end()
    api.cut()
    await policies.says(namespace, 'tools', 'Ready', 'Ready')
    expect(asked, `${asked} requests in ${seconds} s`).to.be.below(AT_ONCE + PER_SECOND * seconds)
    expect(await operator.ready()).to.equal(200)
  }

  for (const fault of FAULTS) {
    it(`goes on when everything was ${fault} for a while`, async () => {
      await suffer(
        `was-${fault}`,
        () => (api.fault = fault),
        () => (api.fault = undefined),
      )
    })
  }

  it('goes on with a new token when the old one has expired', async () => {
    await suffer(
      'expired',
      () => (token = 'expired'),
      () => (token = undefined),
    )
    expect(operator.log()).to.include('401')
  })
})
