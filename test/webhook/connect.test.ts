import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { KubeError } from '../../src/kube/client.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLog } from '../../src/platform/log.ts'
import { objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { startAccessWriter } from '../../src/recorder/access-writer.ts'
import type { AccessWriter } from '../../src/recorder/access-writer.ts'
import { steno } from '../support/cli.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { asInjector, installWebhooks, startWebhookFor } from '../support/webhook.ts'
import type { WebhookUnderTest } from '../support/webhook.ts'

describe('who reaches past a recorder, on a real API server', function () {
  this.timeout(120_000)
  let server: ApiServer
  let webhook: WebhookUnderTest
  let writer: AccessWriter
  let folder = ''

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
    folder = await mkdtemp(join(tmpdir(), 'access-'))
    const log = createLog({ level: 'error', write: () => {}, now: Date.now })
    writer = await startAccessWriter({ version: '0.0.0', place: { pod: 'injector-0' }, spoolDirectory: join(folder, 'spool'), spoolMaxBytes: 16 * 1024 * 1024, sink: { type: 'directory', path: join(folder, 'archive') }, lingerMs: 50, clock: systemClock, log })
    webhook = await startWebhookFor(await asInjector(server), { access: writer })
    await webhook.synced
    await installWebhooks(server.client, webhook)
    for (const [namespace, access] of [['open', {}], ['closed', { others: 'Refuse', connect: [{ user: 'somebody' }] }], ['named', { others: 'Refuse', connect: [{ user: 'admin' }] }]] as const) {
      await createNamespace(server.client, namespace)
      await server.client.request(`/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies`, { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools' }, spec: { selector: { matchLabels: { app: 'mcp' } }, access: access as Json } } })
      await until(async () => textsAt((await create(namespace, 'probe', '?dryRun=All'))['metadata'], 'labels')['steno.dev/recorded'] === 'true')
      await create(namespace, 'server')
    }
  })
  after(async () => {
    await webhook?.stop()
    await server?.stop()
    if (folder !== '') await rm(folder, { recursive: true, force: true })
  })

  const pods = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`
  const create = async (namespace: string, name: string, query = '', labels: JsonObject = { app: 'mcp' }): Promise<JsonObject> =>
    await server.client.request(`${pods(namespace)}${query}`, { method: 'POST', body: { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }] }] } } })
  /** There is no kubelet: what is let pass fails after admission, in other words. */
  const connect = async (namespace: string, subresource: string): Promise<string> => {
    const refusal = await server.client.request(`${pods(namespace)}/${subresource}`, { method: 'POST' }).catch((error: unknown) => error)
    return refusal instanceof KubeError ? refusal.message : 'connected'
  }
  const addDebugger = async (namespace: string, query = ''): Promise<JsonObject> =>
    await server.client.request(`${pods(namespace)}/server/ephemeralcontainers${query}`, { method: 'PATCH', contentType: 'application/strategic-merge-patch+json', body: { spec: { ephemeralContainers: [{ name: 'debugger', image: 'example/shell:1', command: ['sh', '-c', 'password=hunter2'] }] } } })
  const events = async (namespace: string): Promise<readonly JsonObject[]> => objectsAt(await server.client.request(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`), 'items')

  it('lets pass and refuses as the policy says, and writes both down in frames, Events and metrics', async () => {
    expect(await connect('open', 'server/exec?container=server&command=sh&command=-c&command=echo+hunter2&stdout=true')).to.not.include('steno')
    expect(await connect('open', 'server/attach?container=server&stdout=true')).to.not.include('steno')
    expect(await connect('open', 'server/portforward')).to.not.include('steno')
    await addDebugger('open', '?dryRun=All')
    await addDebugger('open')
    expect(await connect('closed', 'server/exec?container=server&command=sh&stdout=true')).to.include('the policy tools lets only those in access.connect reach it')
    expect(await addDebugger('closed').catch((error: unknown) => error)).to.be.instanceOf(KubeError).with.property('status', 403)
    expect(await connect('named', 'server/portforward')).to.not.include('steno')
    // Not recorded, so nobody's business.
    await create('closed', 'other', '', { app: 'other' })
    expect(await connect('closed', 'other/exec?command=sh&stdout=true')).to.not.include('steno')
    expect(await connect('closed', 'nobody/exec?command=sh&stdout=true')).to.not.include('steno')

    await until(async () => (await events('open')).filter(each => each['reason'] === 'ReachedPastRecorder').length === 4 && (await events('closed')).filter(each => each['reason'] === 'AccessRefused').length === 2)
    expect(textAt((await events('open')).find(each => textAt(each, 'note')?.includes('exec')), 'note')).to.equal('admin reached: exec of server. It is recorded.')
    const metrics = await webhook.metrics()
    expect(metrics).to.include('steno_accesses_total{action="exec",outcome="allowed",recorded="true"} 1')
    expect(metrics).to.include('steno_accesses_total{action="exec",outcome="refused",recorded="true"} 1')

    expect(await writer.stop('test')).to.equal(0)
    const archive = join(folder, 'archive')
    const shown = await steno(['show', 'ungrouped', '--archive', archive, '--kind', 'access', '-o', 'jsonl'])
    expect(shown.code, shown.err).to.equal(0)
    const messages = await steno(['show', 'ungrouped', '--archive', archive, '--kind', 'access'])
    expect(messages.out).to.include('admin: exec open/server/server (sh)').and.to.include('admin: port-forward named/server')
    expect(messages.out).to.include('ephemeral-container closed/server')
    expect(`${shown.out}${messages.out}`).to.not.include('hunter2')
    const exported = await steno(['export', 'ungrouped', '--raw', '--archive', archive])
    const frames = exported.out.split('\n').filter(line => line.includes('"kind":"access"')).map(line => JSON.parse(line) as JsonObject)
    expect(frames.map(each => [each['namespace'], each['action'], each['allowed']])).to.deep.equal([
      ['open', 'exec', true],
      ['open', 'attach', true],
      ['open', 'port-forward', true],
      ['open', 'ephemeral-container', true],
      ['closed', 'exec', false],
      ['closed', 'ephemeral-container', false],
      ['named', 'port-forward', true],
    ])
    expect(frames[0]).to.include({ user: 'admin', pod: 'server', container: 'server', program: 'sh', arguments: 2 })
    expect(frames[3]).to.include({ container: 'debugger', image: 'example/shell:1', program: 'sh', arguments: 2 })
    expect((await steno(['verify', '--archive', archive])).out).to.include('consistent')
  })

  it('lets pass what it could not write down, and says so, when its writer has ended', async () => {
    expect(await connect('open', 'server/exec?command=sh&stdout=true')).to.not.include('steno')
    expect(await webhook.metrics()).to.include('steno_accesses_total{action="exec",outcome="allowed",recorded="false"} 1')
    expect(webhook.log()).to.include('it could not be recorded')
  })
})
