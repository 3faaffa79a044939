import { Agent, request } from 'node:https'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { decide } from '../../src/inject/decide.ts'
import { isObject, objectAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { createAuthority } from '../support/certificate.ts'
import { steno } from '../support/cli.ts'
import { podCases, settings } from '../support/golden-pods.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { openLink } from '../support/link.ts'
import { promtoolFindings } from '../support/promtool.ts'
import { startWebhookFor } from '../support/webhook.ts'
import type { WebhookUnderTest } from '../support/webhook.ts'

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Readonly<Record<string, unknown>>
}

describe('the webhook server', function () {
  this.timeout(120_000)
  let server: ApiServer
  let webhook: WebhookUnderTest

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
    await createNamespace(server.client, 'team-a')
    await server.client.request('/apis/steno.dev/v1alpha1/namespaces/team-a/sessionpolicies', { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools' }, spec: { selector: {} } } })
    webhook = await startWebhookFor(server.cluster)
    await webhook.synced
  })
  after(async () => {
    await webhook?.stop()
    await server?.stop()
  })

  const ask = async (path: string, body: string | Buffer, options: { readonly method?: string; readonly type?: string; readonly to?: WebhookUnderTest } = {}): Promise<Answer> => {
    const { port, authority } = options.to ?? webhook
    return await new Promise((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port, path, method: options.method ?? 'POST', ca: authority.cert, agent: new Agent({ keepAlive: false }), headers: { 'content-type': options.type ?? 'application/json', connection: 'keep-alive' } }, answer => {
        let text = ''
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text, headers: answer.headers }))
      })
      asked.on('error', reject)
      asked.end(body)
    })
  }
  const review = (object: Json, changes: JsonObject = {}): string =>
    JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: { uid: 'u', operation: 'CREATE', namespace: 'team-a', kind: { group: '', version: 'v1', kind: 'Pod' }, object, ...changes } })
  const responseOf = ({ body }: Answer): JsonObject => {
    const document: unknown = JSON.parse(body)
    return isObject(document) ? objectAt(document, 'response') : {}
  }

  for (const [what, body, status] of [
    ['a review that is cut off', '{"apiVersion":"admission.k8s.io/v1","kind":"Admiss', 400],
    ['no JSON at all', 'hello', 400],
    ['an empty body', '', 400],
    ['a review of another version', JSON.stringify({ apiVersion: 'admission.k8s.io/v1beta1', kind: 'AdmissionReview', request: { uid: 'u', operation: 'CREATE' } }), 400],
    ['another kind', JSON.stringify({ apiVersion: 'v1', kind: 'Pod' }), 400],
    ['a review without a request', JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }), 400],
    ['a list', '[]', 400],
    ['a body of 8 MB', JSON.stringify({ filler: 'x'.repeat(8_000_000) }), 413],
  ] as const) {
    it(`answers ${what} with ${status}, without quoting it`, async () => {
      const answer = await ask('/mutate-pod', body)
      expect(answer.status).to.equal(status)
      expect(JSON.parse(answer.body)).to.have.keys('error')
      expect(answer.body.length).to.be.lessThan(200)
    })
  }

  it('takes a review of 6 MB, and a pod of a hundred containers', async () => {
    const big = await ask('/mutate-pod', review({ metadata: { annotations: { filler: 'x'.repeat(6_000_000) } }, spec: { containers: [{ name: 'server', ports: [{ name: 'mcp', containerPort: 8080 }] }] } }))
    expect(responseOf(big)).to.include({ allowed: true, patchType: 'JSONPatch' })
    const hundred = podCases().find(({ name }) => name === 'hundred-containers')
    expect(responseOf(await ask('/mutate-pod', review(hundred?.input.pod ?? {})))).to.include({ allowed: true, patchType: 'JSONPatch' })
  })

  it('lets in what has the shape of no pod, with the reason in the audit log', async () => {
    for (const object of [null, {}, { spec: 7 }, { spec: { containers: [null, 3] } }, { metadata: [], spec: { containers: { a: 1 } } }]) {
      expect(responseOf(await ask('/mutate-pod', review(object)))).to.deep.include({ allowed: true, auditAnnotations: { decision: 'skip', reason: 'malformed-pod' } })
    }
  })

  it('has nothing to say of updates, other kinds and subresources', async () => {
    for (const changes of [{ operation: 'UPDATE' }, { kind: { group: 'apps', version: 'v1', kind: 'Deployment' } }, { subResource: 'ephemeralcontainers' }]) {
      expect(responseOf(await ask('/mutate-pod', review({ spec: { containers: [{ name: 'server', ports: [{ name: 'mcp', containerPort: 8080 }] }] } }, changes)))).to.deep.equal({ uid: 'u', allowed: true })
    }
  })

  it('answers other methods and paths with 405 and 404', async () => {
    expect(await ask('/mutate-pod', '', { method: 'GET' })).to.have.property('status', 405)
    expect(await ask('/', '')).to.have.property('status', 404)
  })

  it('keeps idle connections longer than an API server does', async () => {
    expect(await ask('/mutate-pod', review({}))).to.have.nested.property('headers.keep-alive', 'timeout=95')
  })

  it('refuses a policy that this installation cannot fulfil, and one that CEL would not have let pass', async () => {
    const onVolume = await startWebhookFor(server.cluster, { settings: settings({ sink: { claim: 'recordings' }, roleArn: undefined }) })
    try {
      await onVolume.synced
      const policy = (spec: Json): string => review({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools', namespace: 'team-a' }, spec }, { kind: { group: 'steno.dev', version: 'v1alpha1', kind: 'SessionPolicy' } })
      expect(responseOf(await ask('/validate-policy', policy({ selector: {}, durability: 'OffPod' }), { to: onVolume }))).to.have.nested.property('status.message').that.includes('give spec.sink.firehose')
      expect(responseOf(await ask('/validate-policy', policy({ selector: {}, prots: [] }), { to: onVolume }))).to.have.nested.property('status.message').that.includes('spec.prots: is not known')
      expect(responseOf(await ask('/validate-policy', policy({ selector: { matchLabels: { app: 'x' } } }), { to: onVolume }))).to.deep.equal({ uid: 'u', allowed: true })
    } finally {
      await onVolume.stop()
    }
  })

  it('leaves it to failurePolicy when a namespace is unknown and the API server does not answer in time', async () => {
    const link = await openLink([server.port])
    const cut = await startWebhookFor({ ...server.cluster, server: new URL(`https://127.0.0.1:${link.port}`) })
    try {
      await cut.synced
      link.silence()
      expect(await ask('/mutate-pod?timeout=1s', review({ spec: { containers: [{ name: 'server' }] } }, { namespace: 'never-heard-of' }), { to: cut })).to.have.property('status', 503)
      expect(await ask('/mutate-pod?timeout=1s', review({ spec: { containers: [{ name: 'server' }] } }), { to: cut })).to.have.property('status', 200)
    } finally {
      await link.close()
      await cut.stop()
    }
  })

  it('gives metrics that Prometheus reads', async function () {
    await ask('/mutate-pod', review({}))
    const findings = promtoolFindings(await webhook.metrics())
    if (findings === undefined && process.env['CI'] !== 'true') return this.skip()
    expect(findings).to.equal('')
  })

  it('steno inject serves with a kubeconfig, is ready when it knows the cluster, and ends with 0', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'inject-'))
    try {
      const authority = createAuthority()
      const leaf = authority.issue(['127.0.0.1'])
      for (const [name, content] of [['tls.crt', leaf.cert], ['tls.key', leaf.key], ['config.yaml', 'image: example/steno:1\nsink: {claim: recordings}\n']] as const) await writeFile(join(folder, name), content)
      const stopping = new AbortController()
      let ready = false
      const stderr = { text: '' }
      const running = steno(['inject', '--config', join(folder, 'config.yaml'), '--certificate', join(folder, 'tls.crt'), '--key', join(folder, 'tls.key'), '--kubeconfig', server.kubeconfig, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--drain', '0s', '--archive', join(folder, 'archive'), '--spool', join(folder, 'spool')], {
        signal: stopping.signal,
        onTalk: text => {
          stderr.text = text
          if (text.includes('ready: policies')) ready = true
        },
      })
      await until(async () => ready)
      const port = Number(/"port":(\d+)/.exec(stderr.text)?.[1])
      const answer = await ask('/mutate-pod', review({ spec: { containers: [{ name: 'server', ports: [{ name: 'mcp', containerPort: 8080 }] }] } }), { to: { ...webhook, port, authority } })
      expect(responseOf(answer)).to.include({ allowed: true, patchType: 'JSONPatch' })
      stopping.abort()
      expect(await running).to.have.property('code', 0)
      // Its own writer, for those who reach past a recorder, has begun and ended in order.
      expect((await steno(['verify', '--archive', join(folder, 'archive')])).out).to.include('consistent')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('decides as decide() does', async () => {
    for (const { input } of podCases().filter(each => each.input.oldestNodeMinor === 34).slice(0, 10)) {
      const patch = responseOf(await ask('/mutate-pod', review(input.pod)))['patch']
      const policies = [{ ...(input.policies[0] ?? { namespace: '', name: '', uid: '', generation: 1 }), spec: { selector: { matchLabels: {}, matchExpressions: [] }, ports: [], capture: 'Auto' as const, durability: 'Local' as const, onFailure: 'Block' as const, optOut: 'Refuse' as const, directPort: 'Close' as const, unrecorded: 'Allow' as const, repair: 'Report' as const, connect: [], view: [], others: 'Record' as const, policyArns: [] } }]
      const wanted = decide({ ...input, namespace: { name: 'team-a', labels: {}, annotations: {} }, policies })
      const paths = (text: unknown): unknown => (typeof text === 'string' ? (JSON.parse(Buffer.from(text, 'base64').toString()) as JsonObject[]).map(each => each['path']) : [])
      expect(paths(patch)).to.deep.equal(wanted.patch.map(each => each.path))
    }
  })
})
