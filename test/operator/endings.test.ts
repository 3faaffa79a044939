/** How an operator ends, and what the next one finds: told to, having lost the lease, or killed in the middle of its work. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'
import fc from 'fast-check'

import { decide } from '../../src/inject/decide.ts'
import { KubeError } from '../../src/kube/client.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { steno } from '../support/cli.ts'
import { digest, policyOf, settings } from '../support/golden-pods.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'

const LEASE = '/apis/coordination.k8s.io/v1/namespaces/steno-system/leases/steno-operator'
const SCHEDULES = 15
const NEEDED = { PolicyReady: 'Compiled', PathReady: 'NotAsked', RepairReady: 'NotAsked', AccessReady: 'Granted', NetworkReady: 'Closed', Injected: 'AllRecorded', Ready: 'Ready' }

describe('the end of an operator, on a real API server', function () {
  this.timeout(180_000)
  let server: ApiServer
  let policies: Policies
  let folder: string

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
    await createNamespace(server.client, 'steno-system')
    policies = policiesOf(server.client)
    folder = await mkdtemp(join(tmpdir(), 'operate-'))
    await writeFile(join(folder, 'config.yaml'), 'image: registry.example/steno@sha256:5e\nsink: {claim: archive}\n')
  })
  after(async () => {
    await server?.stop()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  const operate = (signal: AbortSignal, onTalk: (err: string) => void): ReturnType<typeof steno> => steno(['operate', '--config', join(folder, 'config.yaml'), '--kubeconfig', server.kubeconfig, '--admin', '127.0.0.1:0', '--drain', '1s'], { signal, onTalk })
  const holder = async (): Promise<string | undefined> => textAt(objectAt(await server.client.request(LEASE), 'spec'), 'holderIdentity')

  it('steno operate says what it needs', async () => {
    const { code, err } = await steno(['operate'])
    expect({ code, err }).to.deep.equal({ code: 2, err: 'error: --config is needed: the file that the injector has (usage.invalid)\n' })
  })

  it('steno operate ends with 0 when told to, and gives the lease back', async () => {
    const stopping = new AbortController()
    const leading = Promise.withResolvers<void>()
    const run = operate(stopping.signal, err => err.includes('"msg":"leading"') && leading.resolve())
    await leading.promise
    await createNamespace(server.client, 'told')
    await policies.put('told', 'tools', { selector: {} })
    await policies.says('told', 'tools', 'Ready', 'Ready')
    stopping.abort()
    expect((await run).code).to.equal(0)
    expect(await holder()).to.equal('')
  })

  it('steno operate ends with 1 when another has taken the lease', async () => {
    const leading = Promise.withResolvers<void>()
    const run = operate(new AbortController().signal, err => err.includes('"msg":"leading"') && leading.resolve())
    await leading.promise
    await server.client.request(LEASE, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { spec: { holderIdentity: 'thief' } } })
    const { code, err } = await run
    expect(code).to.equal(1)
    expect(err).to.include('"msg":"no longer leading; ending"').and.to.include('another holds the lease: thief')
    await server.client.request(LEASE, { method: 'DELETE' })
  })

  const bare: JsonObject = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080, protocol: 'TCP' }] }] } }
  const prepare = async (namespace: string): Promise<void> => {
    await createNamespace(server.client, namespace)
    await policies.put(namespace, 'tools', { selector: {}, access: { connect: [{ group: 'developers' }] } })
    const stored = policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', ...(await policies.get(namespace, 'tools')) })
    const { pod } = decide({ pod: bare, namespace: { name: namespace, labels: {}, annotations: {} }, policies: [stored], settings: settings(), oldestNodeMinor: 34, digest })
    await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: pod })
  }
  /** From then on it reaches nobody, as a process that was killed. */
  const kill = (operator: OperatorUnderTest): Promise<never> => {
    operator.before = async () => await Promise.reject(new KubeError(0, 'Dead', 'killed'))
    return operator.before('', {}) as Promise<never>
  }

  it(`a leader that is killed before or after any of its writes leaves nothing that the next does not put right (${SCHEDULES} schedules)`, async () => {
    let number = 0
    let killed = 0
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 12 }), fc.boolean(), async (nth, afterwards) => {
        const namespace = `killed-${number++}`
        const first = await startOperatorFor(server.cluster)
        const dead = Promise.withResolvers<void>()
        let seen = 0
        const strike = async (path: string, { method = 'GET' }: { readonly method?: string }): Promise<void> => {
          if (method === 'GET' || !path.includes(`/namespaces/${namespace}/`) || seen++ !== nth) return
          killed++
          dead.resolve()
          await kill(first)
        }
        first[afterwards ? 'after' : 'before'] = strike
        await first.leading
        await prepare(namespace)
        await Promise.race([dead.promise, policies.says(namespace, 'tools', 'Ready', 'Ready').catch(() => {})])
        const stopped = first.stop()
        await server.client.request(LEASE, { method: 'DELETE' }).catch(() => {})
        const second = await startOperatorFor(server.cluster)
        for (const [type, reason] of Object.entries(NEEDED)) await policies.says(namespace, 'tools', type, reason)
        for (const collection of ['/api/v1/namespaces/NS/configmaps', '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/roles', '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings', '/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies']) {
          expect(objectsAt(await server.client.request(collection.replace('NS', namespace)), 'items'), collection).to.have.length(1)
        }
        const conditions = objectsAt(objectAt(await policies.get(namespace, 'tools'), 'status'), 'conditions')
        expect(conditions.map(each => each['type']).toSorted()).to.deep.equal(Object.keys(NEEDED).toSorted())
        await stopped
        await second.stop()
      }),
      { numRuns: SCHEDULES },
    )
    expect(killed).to.be.greaterThan(SCHEDULES / 3)
  })
})
