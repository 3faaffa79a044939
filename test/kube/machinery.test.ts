/** Election, server-side apply and the copies that are kept by watches, on a real API server. */

import { expect } from 'chai'

import { createApplier } from '../../src/kube/apply.ts'
import type { Applier, ApplyRequest } from '../../src/kube/apply.ts'
import { createKubeClient, KubeError } from '../../src/kube/client.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { conditionJson, findCondition } from '../../src/kube/conditions.ts'
import { lead } from '../../src/kube/election.ts'
import type { ElectionOptions, Leadership } from '../../src/kube/election.ts'
import { createReflector } from '../../src/kube/reflector.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLog } from '../../src/platform/log.ts'
import { objectAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { createNamespace, installCrd, kubeAssets, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { openLink } from '../support/link.ts'

const log = createLog({ level: 'error', write: () => {}, now: Date.now })
const never = new AbortController().signal

describe('machinery, on a real API server', function () {
  this.timeout(120_000)
  let server: ApiServer

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNamespace(server.client, 'team-a')
  })
  after(async () => await server?.stop())

  describe('lead()', () => {
    const candidate = (name: string, identity: string, client: KubeClient = server.client): ElectionOptions => ({ client, namespace: 'team-a', name, identity, clock: systemClock, log, random: Math.random, leaseMs: 1500, renewMs: 1000, retryMs: 100 })
    const lease = async (name: string): Promise<JsonObject> => objectAt(await server.client.request(`/apis/coordination.k8s.io/v1/namespaces/team-a/leases/${name}`), 'spec')

    it('lets one lead, and the next as soon as the lease is released', async () => {
      const first = await lead(candidate('released', 'a'), never)
      let second: Leadership | undefined
      const waiting = lead(candidate('released', 'b'), never).then(each => (second = each))
      const renewed = textAt(await lease('released'), 'renewTime')
      await until(async () => textAt(await lease('released'), 'renewTime') !== renewed)
      expect(second).to.equal(undefined)
      await first.release()
      await (await waiting).release()
      expect(await lease('released')).to.deep.include({ leaseTransitions: 1 })
    })

    it('gives up before its lease is over when the API server falls silent, and another takes over', async () => {
      const link = await openLink([server.port])
      const client = createKubeClient({ ...server.cluster, server: new URL(`https://127.0.0.1:${link.port}`) })
      const first = await lead(candidate('silent', 'a', client), never)
      const order: string[] = []
      const ended = first.lost.then(() => order.push('lost'))
      link.silence()
      const second = await lead(candidate('silent', 'b'), never)
      order.push('taken')
      await ended
      expect(order).to.deep.equal(['lost', 'taken'])
      expect(await lease('silent')).to.deep.include({ holderIdentity: 'b' })
      await second.release()
      await client.close()
      await link.close()
    })

    it('is lost at once when another has taken the lease', async () => {
      const first = await lead(candidate('stolen', 'a'), never)
      const stored = await server.client.request('/apis/coordination.k8s.io/v1/namespaces/team-a/leases/stolen')
      await server.client.request('/apis/coordination.k8s.io/v1/namespaces/team-a/leases/stolen?fieldManager=thief', { method: 'PATCH', contentType: 'application/merge-patch+json', body: { spec: { ...objectAt(stored, 'spec'), holderIdentity: 'thief' } } })
      expect(await first.lost).to.equal('another holds the lease: thief')
    })
  })

  describe('createApplier()', () => {
    const PATH = '/api/v1/namespaces/team-a/configmaps'
    let writes = 0
    let applier: Applier
    const own = (name: string, data: JsonObject): Omit<ApplyRequest, 'observed'> => ({
      path: `${PATH}/${name}`,
      wanted: () => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'team-a', labels: { ours: 'yes' } }, data }),
      isOurs: each => objectAt(each['metadata'], 'labels')['ours'] === 'yes',
    })
    const read = async (name: string): Promise<JsonObject> => await server.client.request(`${PATH}/${name}`)
    const asOther = async (name: string, body: JsonObject): Promise<JsonObject> => await server.client.request(`${PATH}/${name}?fieldManager=someone`, { method: 'PATCH', contentType: 'application/merge-patch+json', body })

    beforeEach(() => {
      writes = 0
      applier = createApplier({ ...server.client, request: async (path, options) => {
        if ((options?.method ?? 'GET') !== 'GET') writes++
        return await server.client.request(path, options)
      } }, 'steno-test')
    })

    it('writes once, and not again while nothing differs, however old the copy is that it is given', async () => {
      expect(await applier.apply({ ...own('once', { a: '1' }), observed: undefined }, never)).to.equal('written')
      expect(await applier.apply({ ...own('once', { a: '1' }), observed: undefined }, never)).to.equal('same')
      const old = await read('once')
      expect(await applier.apply({ ...own('once', { a: '2' }), observed: old }, never)).to.equal('written')
      expect(await applier.apply({ ...own('once', { a: '2' }), observed: old }, never)).to.equal('same')
      expect(await applier.apply({ ...own('once', { a: '2' }), observed: await read('once') }, never)).to.equal('same')
      expect(writes).to.equal(2)
    })

    it('takes back what others changed, drops what is no longer wanted, and leaves what others added', async () => {
      await applier.apply({ ...own('shared', { a: '1', b: '1' }), observed: undefined }, never)
      const changed = await asOther('shared', { data: { a: 'theirs', theirs: 'x' } })
      expect(await applier.apply({ ...own('shared', { a: '1' }), observed: changed }, never)).to.equal('written')
      expect((await read('shared'))['data']).to.deep.equal({ a: '1', theirs: 'x' })
      expect(writes).to.equal(1 + 1)
    })

    it('leaves an object alone that is not ours', async () => {
      await server.client.request(PATH, { method: 'POST', body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'theirs' }, data: { a: 'theirs' } } })
      expect(await applier.apply({ ...own('theirs', { a: '1' }), observed: undefined }, never)).to.equal('taken')
      expect(writes).to.equal(0)
    })

    it('does not write over an object that was made anew since it was seen, nor delete it', async () => {
      await applier.apply({ ...own('anew', { a: '1' }), observed: undefined }, never)
      const old = await read('anew')
      await server.client.request(`${PATH}/anew`, { method: 'DELETE' })
      await server.client.request(PATH, { method: 'POST', body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'anew', labels: { ours: 'yes' } }, data: { a: 'new' } } })
      const refusal = await applier.apply({ ...own('anew', { a: '2' }), observed: old }, never).catch((error: unknown) => error)
      expect(refusal).to.be.instanceOf(KubeError).with.property('status', 422)
      await applier.remove(`${PATH}/anew`, old, never)
      expect((await read('anew'))['data']).to.deep.equal({ a: 'new' })
      await applier.remove(`${PATH}/anew`, await read('anew'), never)
      await applier.remove(`${PATH}/anew`, old, never)
    })

    for (const [name, what] of [['gone', 'deleted'], ['replaced', 'deleted and made anew']] as const) {
      it(`is refused once, not for as long as its copy is old, when the object was ${what}`, async () => {
        await applier.apply({ ...own(name, { a: '1' }), observed: undefined }, never)
        const old = await read(name)
        await server.client.request(`${PATH}/${name}`, { method: 'DELETE' })
        if (name === 'replaced') await server.client.request(PATH, { method: 'POST', body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels: { ours: 'yes' } } } })
        expect(await applier.apply({ ...own(name, { a: '2' }), observed: old }, never).catch((error: unknown) => error)).to.be.instanceOf(KubeError)
        expect(await applier.apply({ ...own(name, { a: '2' }), observed: old }, never)).to.equal('written')
        expect((await read(name))['data']).to.deep.equal({ a: '2' })
      })
    }
  })

  it('reflector tells each change, what it missed included, and only of objects with its labels', async () => {
    const changes: string[] = []
    const reflector = createReflector<string>({
      client: server.client,
      path: '/api/v1/secrets',
      labelSelector: 'ours=yes',
      keep: object => textAt(object['metadata'], 'name'),
      onChange: ({ key, before, after }) => void changes.push(`${key} ${before ?? '-'} ${after ?? '-'}`),
      clock: systemClock,
      log,
      random: Math.random,
      maxWaitMs: 500,
    })
    const path = '/api/v1/namespaces/team-a/secrets'
    const create = async (name: string, labels: JsonObject): Promise<void> => void (await server.client.request(path, { method: 'POST', body: { apiVersion: 'v1', kind: 'Secret', metadata: { name, labels } } }))
    await create('a', { ours: 'yes' })
    await create('b', { ours: 'no' })
    reflector.start()
    await reflector.synced
    await create('c', { ours: 'yes' })
    await server.client.request(`${path}/a`, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { metadata: { labels: { ours: 'no' } } } })
    await until(async () => changes.length >= 3)
    expect(changes).to.deep.equal(['team-a/a - a', 'team-a/c - c', 'team-a/a a -'])
    await reflector.stop()
  })
})

describe('conditionJson()', () => {
  it('keeps the time of transition while the status stays, and names the generation it speaks of', () => {
    const first = conditionJson({ type: 'Ready', status: 'False', reason: 'A', message: 'a' }, undefined, 1, 1_000_000_000_000)
    const second = conditionJson({ type: 'Ready', status: 'False', reason: 'B', message: 'x'.repeat(2000) }, first, 2, 1_100_000_000_000)
    const third = conditionJson({ type: 'Ready', status: 'True', reason: 'B', message: 'b' }, second, 2, 1_200_000_000_000)
    expect([first, second, third].map(each => each['lastTransitionTime'])).to.deep.equal(['2001-09-09T01:46:40Z', '2001-09-09T01:46:40Z', '2008-01-10T21:20:00Z'])
    expect(second).to.deep.include({ observedGeneration: 2, reason: 'B' })
    expect(String(second['message'])).to.have.length(1024)
    expect(findCondition({ status: { conditions: [first] } }, 'Ready')).to.equal(first)
  })
})
