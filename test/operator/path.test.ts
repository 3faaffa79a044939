/** Namespaces that refuse what is not recorded: only while the injector is proved to work there. */

import { expect } from 'chai'
import fc from 'fast-check'

import { createKubeClient, KubeError } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { isStrict, labelsFor, nextPath, PATH_TIMES } from '../../src/operator/path/decide.ts'
import type { PathState } from '../../src/operator/path/decide.ts'
import { textsAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { selects } from '../../src/policy/select.ts'
import { createAuthority } from '../support/certificate.ts'
import { fuzzRuns } from '../support/fuzz-runs.ts'
import { createNamespace, freePort, kubeAssets, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startForOperator } from '../support/operator-account.ts'
import { policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'
import { asInjector, installWebhooks, startWebhookFor } from '../support/webhook.ts'
import type { WebhookUnderTest } from '../support/webhook.ts'

const QUICK = { everyMs: 60, soonMs: 20, takeBackMs: 200, giveAgainMs: 200, vouchMs: 1000 }
const PATIENT = { ...QUICK, takeBackMs: 3_600_000 }
const REFUSE = { selector: { matchLabels: { app: 'mcp' } }, unrecorded: 'Refuse' }

describe('the proof that a namespace is recorded, on a real API server with the real injector', function () {
  this.timeout(120_000)
  let server: ApiServer
  let account: Cluster
  let operator: OperatorUnderTest
  let policies: Policies
  let webhook: WebhookUnderTest
  let injector: Cluster
  let port: number
  const authority = createAuthority()

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    const started = await startForOperator(assets)
    server = started.server
    account = started.account
    injector = await asInjector(server)
    policies = policiesOf(server.client)
    port = await freePort()
    await serve()
    operator = await startOperatorFor(account, { pathTimes: QUICK })
    await operator.leading
  })
  after(async () => {
    await operator?.stop()
    await webhook?.stop()
    await server?.stop()
  })

  const serve = async (): Promise<void> => {
    webhook = await startWebhookFor(injector, { authority, listen: { host: '127.0.0.1', port } })
    await webhook.synced
  }
  const another = async (pathTimes: typeof QUICK): Promise<void> => {
    await operator.stop()
    operator = await startOperatorFor(account, { pathTimes })
    await operator.leading
  }
  const labels = async (namespace: string): Promise<Readonly<Record<string, string>>> => textsAt((await server.client.request(`/api/v1/namespaces/${namespace}`))['metadata'], 'labels')
  const strict = async (namespace: string): Promise<boolean> => (await labels(namespace))['steno.dev/strict'] === 'true'
  const relabel = async (namespace: string, value: string | null): Promise<void> => void (await server.client.request(`/api/v1/namespaces/${namespace}`, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { metadata: { labels: { 'steno.dev/strict': value } } } }))
  const pod = (name: string): JsonObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: 'mcp' } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }] }] } })
  const create = async (namespace: string, name: string): Promise<JsonObject> => await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: pod(name) })

  it('a namespace stays lenient while no webhook puts a recorder in, and becomes strict when one does', async () => {
    await createNamespace(server.client, 'proved')
    await policies.put('proved', 'tools', REFUSE)
    expect(await policies.says('proved', 'tools', 'PathReady', 'NotInjected')).to.include('kubectl get pods -n steno-system')
    await policies.says('proved', 'tools', 'Ready', 'NotInjected')
    expect(await strict('proved')).to.equal(false)
    await create('proved', 'before')
    await installWebhooks(server.client, webhook)
    await policies.says('proved', 'tools', 'PathReady', 'Proved')
    await until(async () => await strict('proved'))
    expect(textsAt((await create('proved', 'after'))['metadata'], 'labels')['steno.dev/recorded']).to.equal('true')
    expect((await server.client.request('/api/v1/namespaces/proved/pods'))['items']).to.have.length(2)
  })

  it('a policy that does not ask for it changes nothing of its namespace', async () => {
    await createNamespace(server.client, 'lenient')
    await policies.put('lenient', 'tools', { selector: {} })
    await policies.says('lenient', 'tools', 'PathReady', 'NotAsked')
    expect(operator.writes.filter(each => each.includes('/namespaces/lenient/pods') || each.endsWith('/namespaces/lenient'))).to.deep.equal([])
  })

  it('the label is taken back when no injector serves, so that pods come in, and given again when one does', async () => {
    await webhook.stop()
    expect(await policies.says('proved', 'tools', 'PathReady', 'InjectorAway')).to.match(/No injector answers: look at its pods .*strict\.inject\.steno\.dev/)
    await until(async () => !(await strict('proved')))
    expect(textsAt((await create('proved', 'meanwhile'))['metadata'], 'labels')['steno.dev/recorded']).to.equal(undefined)
    await serve()
    await policies.says('proved', 'tools', 'PathReady', 'Proved')
    await until(async () => await strict('proved'))
  })

  it('a roll-out of the injector does not move the label, although pods are refused meanwhile', async () => {
    await another(PATIENT)
    await webhook.stop()
    expect(await policies.says('proved', 'tools', 'PathReady', 'Doubtful')).to.include('becomes lenient')
    const refusal = await create('proved', 'refused').catch((error: unknown) => error)
    expect(refusal).to.be.instanceOf(KubeError).with.property('message').that.includes('failed calling webhook')
    await serve()
    await policies.says('proved', 'tools', 'PathReady', 'Proved')
    expect(operator.writes.filter(each => each === 'PATCH /api/v1/namespaces/proved')).to.deep.equal([])
    await another(QUICK)
  })

  it('a new leader takes over what the one before it has proved, without a dry run', async () => {
    await another({ ...QUICK, everyMs: 3_600_000 })
    await createNamespace(server.client, 'after')
    await policies.put('after', 'tools', REFUSE)
    await policies.says('after', 'tools', 'PathReady', 'Proved')
    expect(operator.writes.filter(each => each.includes('/namespaces/proved'))).to.deep.equal([])
    await another(QUICK)
  })

  it('puts back a label that somebody took off, and takes it off when no policy asks for it any more', async () => {
    await relabel('proved', null)
    await until(async () => await strict('proved'))
    await policies.put('proved', 'tools', { ...REFUSE, unrecorded: 'Allow' })
    await until(async () => !(await strict('proved')))
    await policies.put('proved', 'tools', REFUSE)
    await until(async () => await strict('proved'))
    await server.client.request('/apis/steno.dev/v1alpha1/namespaces/proved/sessionpolicies/tools', { method: 'DELETE' })
    await until(async () => !(await strict('proved')))
  })

  it('leaves a label alone that somebody else has put on', async () => {
    await createNamespace(server.client, 'by-hand', { labels: { 'steno.dev/strict': 'true' } })
    await policies.put('by-hand', 'tools', REFUSE)
    await policies.says('by-hand', 'tools', 'PathReady', 'Proved')
    await policies.put('by-hand', 'tools', { ...REFUSE, unrecorded: 'Allow' })
    await policies.says('by-hand', 'tools', 'PathReady', 'NotAsked')
    expect(await strict('by-hand')).to.equal(true)
  })

  it('says what stands in the way of a proof, and makes nothing strict: a quota, a selector without pods, a port that cannot be recorded', async () => {
    for (const [namespace, spec, reason, says] of [
      ['full', REFUSE, 'ProofRefused', /exceeded quota/],
      ['nobody', { ...REFUSE, selector: { matchExpressions: [{ key: 'a', operator: 'Exists' }, { key: 'a', operator: 'DoesNotExist' }] } }, 'NothingToProve', /contradicts itself/],
      ['closed', { ...REFUSE, capture: 'Redirect' }, 'NothingToProve', /NET_ADMIN/],
    ] as const) {
      await createNamespace(server.client, namespace, { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } })
      if (namespace === 'full') {
        const quota = await server.client.request('/api/v1/namespaces/full/resourcequotas', { method: 'POST', body: { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'none' }, spec: { hard: { pods: '0' } } } })
        await server.client.request('/api/v1/namespaces/full/resourcequotas/none/status', { method: 'PUT', body: { ...quota, status: { hard: { pods: '0' }, used: { pods: '0' } } } })
      }
      await policies.put(namespace, 'tools', spec)
      expect(await policies.says(namespace, 'tools', 'PathReady', reason)).to.match(says)
      expect(await strict(namespace), namespace).to.equal(false)
    }
  })

  it('proves it under the strictest pod security level, with several ports and policies', async () => {
    await createNamespace(server.client, 'restricted', { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } })
    await policies.put('restricted', 'a', { ...REFUSE, ports: [{ port: 8080 }, { port: 'api' }] })
    await policies.put('restricted', 'b', { selector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['x', 'mcp'] }, { key: 'app', operator: 'NotIn', values: ['x'] }] }, ports: [{ port: 9000 }], unrecorded: 'Refuse' })
    await policies.says('restricted', 'a', 'PathReady', 'Proved')
    await policies.says('restricted', 'b', 'PathReady', 'Proved')
    expect(await strict('restricted')).to.equal(true)
  })

  it('writes nothing while nothing changes', async () => {
    const before = operator.writes.length
    const dryRuns = (): number => operator.writes.filter(each => each.startsWith('POST')).length
    const ran = dryRuns()
    await until(async () => dryRuns() > ran + 3)
    expect(operator.writes.slice(before).filter(each => !/^POST \/api\/v1\/namespaces\/[a-z-]+\/pods$/.test(each))).to.deep.equal([])
  })

  it('the operator itself may create no pod that stays, and change nothing else of a namespace', async () => {
    const client = createKubeClient(account)
    const refused = async (path: string, options: Parameters<typeof client.request>[1]): Promise<string> => {
      const error = await client.request(path, options).catch((reason: unknown) => reason)
      return error instanceof KubeError ? `${error.status} ${error.message}` : 'allowed'
    }
    const merge = { method: 'PATCH', contentType: 'application/merge-patch+json' } as const
    expect(await refused('/api/v1/namespaces/lenient/pods', { method: 'POST', body: pod('kept') })).to.match(/^4\d\d .*in dry runs only/)
    expect(await refused('/api/v1/namespaces/lenient/pods?dryRun=All', { method: 'POST', body: pod('kept') })).to.equal('allowed')
    for (const metadata of [{ labels: { 'pod-security.kubernetes.io/enforce': 'privileged' } }, { annotations: { a: 'b' } }, { finalizers: ['example.com/stay'] }]) {
      expect(await refused('/api/v1/namespaces/lenient', { ...merge, body: { metadata } }), JSON.stringify(metadata)).to.match(/no more of a namespace than the label/)
    }
    expect(await refused('/api/v1/namespaces/lenient?dryRun=All', { ...merge, body: { metadata: { labels: { 'steno.dev/strict': 'true' } } } })).to.equal('allowed')
    await client.close()
  })
})

describe('labelsFor()', () => {
  it('gives labels that the selector selects, or says that there are none', () => {
    const value = fc.constantFrom('', 'a', 'b')
    // The second is a member of every object.
    const key = fc.constantFrom('x', 'constructor')
    const term = fc.oneof(
      fc.record({ key, operator: fc.constantFrom('In' as const, 'NotIn' as const), values: fc.array(value, { minLength: 1, maxLength: 2 }) }),
      fc.record({ key, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const), values: fc.constant([]) }),
    )
    fc.assert(
      fc.property(fc.record({ matchLabels: fc.dictionary(key, value, { maxKeys: 1, noNullPrototype: true }), matchExpressions: fc.array(term, { maxLength: 4 }) }), selector => {
        const values = [undefined, '', 'a', 'b', 'steno', 'probe', 'other']
        const possible = values.some(x => values.some(y => selects(selector, { ...(x === undefined ? {} : { x }), ...(y === undefined ? {} : { constructor: y }) })))
        const labels = labelsFor(selector)
        expect(labels !== undefined).to.equal(possible)
        if (labels !== undefined) expect(selects(selector, labels)).to.equal(true)
      }),
      fuzzRuns,
    )
  })
})

describe('nextPath()', () => {
  it('becomes strict by a proof alone, and never lenient before dry runs have failed for as long as is said', () => {
    const probe = fc.constantFrom('injected' as const, 'away' as const, 'bare' as const, 'unknown' as const, 'forbidden' as const, 'unfit' as const)
    fc.assert(
      fc.property(fc.array(fc.tuple(probe, fc.integer({ min: 1, max: 15_000 })), { maxLength: 40 }), steps => {
        let state: PathState = { phase: 'unproved', sinceMs: 0 }
        let now = 0
        let failingSince: number | undefined
        for (const [result, ms] of steps) {
          now += ms
          const before = state
          state = nextPath(before, result === 'injected' ? { probe: result } : { probe: result, detail: '' }, now, PATH_TIMES)
          if (result === 'injected') failingSince = undefined
          else if (result !== 'unknown' && result !== 'forbidden') failingSince ??= now
          if (isStrict(state) && !isStrict(before)) expect(result).to.equal('injected')
          if (!isStrict(state) && isStrict(before)) expect(now - (failingSince ?? now)).to.be.at.least(PATH_TIMES.takeBackMs)
        }
      }),
      fuzzRuns,
    )
  })
})
