/** `steno doctor` on a real API server with the real injector and operator: each thing is broken on purpose, and it and what follows from it is named. */

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { CreateDeliveryStreamCommand, FirehoseClient } from '@aws-sdk/client-firehose'
import { expect } from 'chai'

import type { Finding } from '../../src/cli/doctor/check.ts'
import { eachOf } from '../../src/kube/pages.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { startAwsDouble, STATIC_KEYS } from '../support/aws/double.ts'
import { awsEnvironment } from '../support/aws/environment.ts'
import { createAuthority } from '../support/certificate.ts'
import { steno } from '../support/cli.ts'
import type { CliRun } from '../support/cli.ts'
import { settings } from '../support/golden-pods.ts'
import { doctorRole, installParts, kubeconfig, kubeconfigOf, NAMESPACE } from '../support/installation.ts'
import type { Installation } from '../support/installation.ts'
import { createNamespace, createNode, freePort, installCrd, kubeAssets, nameOf, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { asOperator, documentedPermissions } from '../support/operator-account.ts'
import { policiesOf, startOperatorFor } from '../support/operator.ts'
import type { OperatorUnderTest, Policies } from '../support/operator.ts'
import { asInjector, installWebhooks, putConfiguration, startWebhookFor } from '../support/webhook.ts'
import type { WebhookUnderTest } from '../support/webhook.ts'

const CONFIG = { image: 'registry.example/steno@sha256:5e', sink: { emptyDir: { sizeMib: 512 } }, roleArn: 'arn:aws:iam::123456789012:role/steno' }
const SELECTOR = { selector: { matchLabels: { app: 'mcp' } } }
const DAY_MS = 86_400_000

describe('the rights of steno doctor', () => {
  it('are what docs/permissions.md lists, verb by verb', () => {
    const rules = (kind: string): readonly JsonObject[] => objectsAt(doctorRole(), 'items').filter(each => each['kind'] === kind).flatMap(each => objectsAt(each, 'rules'))
    const documented = documentedPermissions('steno doctor')
    expect(documented).to.not.be.empty
    const plain = (list: readonly JsonObject[]): readonly string[] => list.map(({ apiGroups, resources, resourceNames, verbs }) => JSON.stringify({ apiGroups, resources, resourceNames, verbs })).toSorted()
    expect(plain(rules('ClusterRole'))).to.deep.equal(plain(documented.filter(each => each.clusterWide).map(({ rule }) => rule)))
    expect(plain(rules('Role'))).to.deep.equal(plain(documented.filter(each => !each.clusterWide).map(({ rule }) => rule)))
  })
})

describe('steno doctor, on a real API server with the real injector and operator', function () {
  this.timeout(120_000)
  let server: ApiServer
  let parts: Installation
  let policies: Policies
  let webhook: WebhookUnderTest
  let operator: OperatorUnderTest
  let folder: string
  let port: number
  let account: { readonly injector: Awaited<ReturnType<typeof asInjector>>; readonly operator: Awaited<ReturnType<typeof asOperator>> }
  let token: string
  const authority = createAuthority()
  const sound = authority.issue(['127.0.0.1', '::1'])
  const files = (): { readonly certFile: string; readonly keyFile: string } => ({ certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') })

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    folder = await mkdtemp(join(tmpdir(), 'steno-doctor-'))
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
    port = await freePort()
    account = { injector: await asInjector(server), operator: await asOperator(server.cluster, server.client) }
    parts = await installParts(server.client, CONFIG, sound.cert)
    policies = policiesOf(server.client)
    const made = await kubeconfigOf(server.client, server.cluster, 'doctor', { rights: true })
    ;({ token } = made)
    await writeFile(join(folder, 'doctor'), JSON.stringify(made))
    await writeFile(join(folder, 'nobody'), JSON.stringify(await kubeconfigOf(server.client, server.cluster, 'nobody', { rights: false })))
    await serve(sound)
    await installWebhooks(server.client, webhook)
    await operate()
    await createNamespace(server.client, 'team-a')
    await policies.put('team-a', 'tools', SELECTOR)
    await until(async () => JSON.stringify(await server.client.request('/api/v1/namespaces/team-a/pods?dryRun=All', { method: 'POST', body: pod('probe') })).includes('steno-recorder'))
    await run('team-a', 'server')
    await policies.says('team-a', 'tools', 'NetworkReady', 'Closed')
    await policies.says('team-a', 'tools', 'Ready', 'Ready')
  })
  after(async () => {
    await operator?.stop()
    await webhook?.stop()
    await server?.stop()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  const serve = async (pair: { readonly cert: string; readonly key: string }): Promise<void> => {
    await writeFile(files().certFile, pair.cert)
    await writeFile(files().keyFile, pair.key)
    webhook = await startWebhookFor(account.injector, { authority, settings: settings(CONFIG), certificate: files(), listen: { port } })
    await webhook.synced
  }
  const operate = async (): Promise<void> => {
    operator = await startOperatorFor(account.operator, { settings: settings(CONFIG) })
    await operator.leading
  }
  const pod = (name: string): JsonObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: 'mcp' } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }] }] } })
  const podPath = (namespace: string, name: string): string => `/api/v1/namespaces/${namespace}/pods/${name}`
  /** As its kubelet would say that it runs. */
  const run = async (namespace: string, name: string, recorder: JsonObject = { ready: true, restartCount: 0, state: { running: {} } }): Promise<void> => {
    if (namespace !== 'team-a' || name !== 'server' || recorder['ready'] === true) await server.client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: pod(name) }).catch(() => {})
    await status(namespace, name, recorder)
  }
  const status = async (namespace: string, name: string, recorder: JsonObject): Promise<void> => await merge(`${podPath(namespace, name)}/status`, { status: { phase: 'Running', startTime: '2026-01-01T00:00:00Z', initContainerStatuses: [{ name: 'steno-recorder', image: 'steno', imageID: 'steno', ...recorder }] } })
  const merge = async (path: string, body: JsonObject): Promise<void> => void (await server.client.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body }))
  const remove = async (path: string): Promise<void> => void (await server.client.request(path, { method: 'DELETE', body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0 } }))
  const policyPath = (namespace: string, name: string): string => `/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies/${name}`

  const doctor = async (argv: readonly string[] = [], { config = 'doctor', env = {} }: { readonly config?: string; readonly env?: Readonly<Record<string, string>> } = {}): Promise<CliRun> =>
    await steno(['doctor', '--kubeconfig', join(folder, config), '-o', 'json', ...argv], { env: { ...awsEnvironment({}), ...env }, now: Date.now })
  const findingsOf = ({ out, err }: CliRun): readonly Finding[] => {
    if (out === '') throw new Error(err)
    return JSON.parse(out) as readonly Finding[]
  }
  /** Name and state of all that is not as it should be. */
  const others = (found: CliRun): Readonly<Record<string, string>> => Object.fromEntries(findingsOf(found).filter(({ state }) => state !== 'ok').map(({ id, state }) => [id, state]))
  const textOf = (found: CliRun, id: string): string => findingsOf(found).find(each => each.id === id)?.found ?? ''
  /** Runs while something is broken. */
  const during = async <T>(mend: () => Promise<void>, look: () => Promise<T>): Promise<T> => {
    try {
      return await look()
    } finally {
      await mend()
    }
  }

  it('finds nothing in a sound cluster, with the rights of hack/doctor/role.yaml, and says that a dry run came out recorded', async () => {
    const found = await doctor()
    expect(others(found)).to.deep.equal({})
    expect(found.code).to.equal(0)
    expect(textOf(found, 'injector.dry-run')).to.equal('in 1 dry run')
    expect(objectsAt(await server.client.request('/api/v1/namespaces/team-a/pods'), 'items').map(nameOf)).to.deep.equal(['server'])
  })

  it('finds nothing where API servers reach the injector by an IPv6 address', async function () {
    if (spawnSync('ip', ['-6', 'route', 'get', '::1']).status !== 0) return this.skip()
    const move = async (from: string, to: string): Promise<void> => {
      for (const kind of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations']) {
        const path = `/apis/admissionregistration.k8s.io/v1/${kind}`
        for await (const each of eachOf(server.client, path, { signal: new AbortController().signal })) await server.client.request(`${path}/${nameOf(each)}`, { method: 'PUT', body: JSON.parse(JSON.stringify(each).replaceAll(`https://${from}:`, `https://${to}:`)) as JsonObject })
      }
    }
    await move('127.0.0.1', '[::1]')
    const found = await during(async () => await move('[::1]', '127.0.0.1'), doctor)
    expect(others(found)).to.deep.equal({})
    expect(textOf(found, 'injector.answers')).to.include(`[::1]:${port} shows the certificate`)
  })

  it('names an injector of which no replica is ready', async () => {
    await parts.replicas('steno-injector', 0)
    const found = await during(async () => await parts.replicas('steno-injector', 2), doctor)
    expect(others(found)).to.deep.equal({ 'injector.replicas': 'problem' })
    expect(found.code).to.equal(1)
  })

  it('names the certificate, and not the replicas, when it is that which keeps them from being ready', async () => {
    await parts.certificate(authority.issue(['127.0.0.1'], -1000, DAY_MS).cert)
    await parts.replicas('steno-injector', 0)
    await parts.endpoints(false)
    const mend = async (): Promise<void> => {
      await parts.certificate(sound.cert)
      await parts.replicas('steno-injector', 2)
      await parts.endpoints(true)
    }
    const found = findingsOf(await during(mend, async () => await doctor(['--skip', 'injector.answers'])))
    expect(found.filter(({ state }) => state === 'problem').map(({ id }) => id)).to.deep.equal(['certificate.valid'])
    expect(Object.fromEntries(found.filter(({ state }) => state === 'unknown').map(({ id, see }) => [id, see]))).to.deep.equal({ 'injector.replicas': 'certificate.valid', 'injector.endpoints': 'certificate.valid' })
  })

  it('names a Service without endpoints', async () => {
    await parts.endpoints(false)
    expect(others(await during(async () => await parts.endpoints(true), doctor))).to.deep.equal({ 'injector.endpoints': 'problem' })
  })

  it('names an injector that does not answer, and strict namespaces that depend on it', async () => {
    await webhook.stop()
    const mend = async (): Promise<void> => await serve(sound)
    const [lenient, strict] = await during(mend, async () => {
      const before = await doctor()
      await merge('/api/v1/namespaces/team-a', { metadata: { labels: { 'steno.dev/strict': 'true' } } })
      const after = await doctor()
      await merge('/api/v1/namespaces/team-a', { metadata: { labels: { 'steno.dev/strict': null } } })
      return [before, after] as const
    })
    expect(others(lenient)).to.deep.equal({ 'injector.answers': 'problem', 'injector.dry-run': 'unknown' })
    expect(textOf(lenient, 'injector.dry-run')).to.equal('not known: see injector.answers')
    expect(others(strict)).to.deep.equal({ ...others(lenient), 'namespaces.strict': 'problem' })
  })

  it('names webhooks that leave a namespace out: a dry run comes out without a recorder', async () => {
    await installWebhooks(server.client, webhook, each => {
      const selector = objectAt(each, 'namespaceSelector')
      return { ...each, namespaceSelector: { ...selector, matchExpressions: [...objectsAt(selector, 'matchExpressions'), { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['team-a'] }] } }
    })
    const found = await during(async () => await installWebhooks(server.client, webhook), async () => {
      await until(async () => others(await doctor())['injector.dry-run'] !== undefined)
      return await doctor()
    })
    expect(others(found)).to.deep.equal({ 'injector.dry-run': 'problem' })
  })

  it('names a webhook configuration that is gone, or lets what is strict pass', async () => {
    await installWebhooks(server.client, webhook, each => (each['name'] === 'strict.validate.steno.dev' ? { ...each, failurePolicy: 'Ignore' } : each))
    expect(others(await during(async () => await installWebhooks(server.client, webhook), doctor))).to.deep.equal({ 'webhooks.installed': 'problem' })
    const path = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/steno-injector'
    const stored = await server.client.request(path)
    await remove(path)
    const { metadata: _metadata, ...rest } = stored
    expect(others(await during(async () => await putConfiguration(server.client, 'validatingwebhookconfigurations', { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingWebhookConfiguration', ...rest, metadata: { name: 'steno-injector' } }), doctor))).to.deep.equal({ 'webhooks.installed': 'problem' })
  })

  it('names a caBundle that is not that of the certificate', async () => {
    await installWebhooks(server.client, { port, authority: createAuthority() })
    const found = await during(async () => await installWebhooks(server.client, webhook), async () => {
      await until(async () => others(await doctor())['injector.dry-run'] !== undefined)
      return await doctor()
    })
    expect(others(found)).to.deep.equal({ 'certificate.trusted': 'problem', 'injector.dry-run': 'unknown' })
    expect(textOf(found, 'injector.dry-run')).to.equal('not known: see certificate.trusted')
  })

  for (const [what, pair, states] of [
    ['has ended', authority.issue(['127.0.0.1'], -1000, DAY_MS), { 'certificate.valid': 'problem' }],
    ['should have been renewed', authority.issue(['127.0.0.1'], DAY_MS / 2, 20 * DAY_MS), { 'certificate.valid': 'note' }],
    ['is for another name', authority.issue(['steno.example']), { 'certificate.valid': 'problem' }],
  ] as const) {
    it(`names a certificate that ${what}, and an injector that shows another`, async () => {
      await parts.certificate(pair.cert)
      const found = await during(async () => await parts.certificate(sound.cert), doctor)
      expect(others(found)).to.deep.equal({ ...states, 'injector.answers': 'problem' })
      expect(textOf(found, 'injector.answers')).to.include('shows another certificate than the Secret holds')
    })
  }

  it('names a definition of policies that is older than this program', async () => {
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sessionpolicies.steno.dev'
    const field = '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/repair'
    const patch = async (body: Json): Promise<void> => void (await server.client.request(path, { method: 'PATCH', contentType: 'application/json-patch+json', body }))
    const value = ['schema', 'openAPIV3Schema', 'properties', 'spec', 'properties', 'repair'].reduce(objectAt, objectsAt((await server.client.request(path))['spec'], 'versions')[0] ?? {})
    await patch([{ op: 'remove', path: field }])
    const found = await during(async () => await patch([{ op: 'add', path: field, value }]), doctor)
    expect(others(found)).to.deep.equal({ 'crd.installed': 'problem' })
    expect(textOf(found, 'crd.installed')).to.equal('it is older than this program: no spec.repair')
  })

  it('names a policy without pods', async () => {
    await policies.put('team-a', 'idle', { selector: { matchLabels: { app: 'none' } } })
    await policies.says('team-a', 'idle', 'Ready', 'Ready')
    const found = await during(async () => await remove(policyPath('team-a', 'idle')), doctor)
    expect(others(found)).to.deep.equal({ 'policies.pods': 'note' })
    expect(found.code).to.equal(0)
  })

  it('names pods that were created before their policy', async () => {
    await createNamespace(server.client, 'team-b')
    await run('team-b', 'early')
    await policies.put('team-b', 'tools', SELECTOR)
    await policies.says('team-b', 'tools', 'Injected', 'PodsMissing')
    const found = await during(async () => await remove(podPath('team-b', 'early')), doctor)
    expect(others(found)).to.deep.equal({ 'pods.recorded': 'problem' })
    expect(textOf(found, 'pods.recorded')).to.equal('1 pod without a recorder; created before their policy: team-b/early')
    await remove(policyPath('team-b', 'tools'))
  })

  it('names outdated recorders, and recorders that do not record', async () => {
    await run('team-a', 'other')
    const annotation = JSON.parse(textAt(objectAt(objectAt(await server.client.request(podPath('team-a', 'other')), 'metadata'), 'annotations'), 'steno.dev/injected') ?? '') as JsonObject
    await merge(podPath('team-a', 'other'), { metadata: { annotations: { 'steno.dev/injected': JSON.stringify({ ...annotation, configHash: 'another' }) } } })
    const mend = async (): Promise<void> => await remove(podPath('team-a', 'other'))
    await during(mend, async () => {
      const outdated = await doctor()
      expect(others(outdated)).to.deep.equal({ 'pods.current': 'note' })
      expect(textOf(outdated, 'pods.current')).to.equal('1 recorder outdated: team-a/other')
      await status('team-a', 'other', { ready: false, restartCount: 4, state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: { terminated: { exitCode: 1, message: 'spool.io: disk' } } })
      const stuck = await doctor()
      expect(others(stuck)).to.deep.equal({ 'pods.current': 'note', 'recorders.ready': 'problem' })
      expect(textOf(stuck, 'recorders.ready')).to.equal('1 recorder not ready: team-a/other (CrashLoopBackOff, started again 4 times, spool.io: disk)')
    })
  })

  it('names a policy whose condition is not True, with reason', async () => {
    const path = '/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies'
    await server.client.request(path, { method: 'POST', body: { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name: 'all' }, spec: { podSelector: {}, policyTypes: ['Ingress'], ingress: [{}] } } })
    await policies.says('team-a', 'tools', 'NetworkReady', 'OtherPolicyAdmits')
    const mend = async (): Promise<void> => {
      await remove(`${path}/all`)
      await policies.says('team-a', 'tools', 'NetworkReady', 'Closed')
    }
    const found = await during(mend, doctor)
    expect(others(found)).to.deep.equal({ 'policies.conditions': 'problem' })
    expect(textOf(found, 'policies.conditions')).to.match(/^team-a\/tools: NetworkReady is False \(OtherPolicyAdmits\)/)
  })

  it('names an operator that nobody leads, and a NetworkPolicy that is gone', async () => {
    await operator.stop()
    await during(operate, async () => {
      const alone = await doctor()
      expect(others(alone)).to.deep.equal({ 'operator.leader': 'problem' })
      expect(textOf(alone, 'operator.leader')).to.equal(`nobody holds the Lease steno-operator of ${NAMESPACE}`)
      await merge(`/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/steno-operator`, { spec: { holderIdentity: 'gone', renewTime: new Date(Date.now() - 600_000).toISOString().replace('Z', '000Z') } })
      expect(textOf(await doctor(), 'operator.leader')).to.match(/^gone has not renewed the Lease steno-operator for 60\d s/)
      await merge(`/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/steno-operator`, { spec: { holderIdentity: '' } })
      await remove('/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/steno-network-tools')
      expect(others(await doctor())).to.deep.equal({ 'operator.leader': 'problem', 'network.closed': 'problem' })
    })
    await until(async () => Object.keys(others(await doctor())).length === 0)
  })

  it('names nodes that are too old for native sidecars, and the recorders that would be others now', async () => {
    await createNode(server.client, 'node-old', 'v1.31.2')
    const found = await during(async () => await remove('/api/v1/nodes/node-old'), async () => {
      // The injector learns of it a moment later.
      await policies.says('team-a', 'tools', 'Injected', 'PodsOutdated')
      return await doctor()
    })
    expect(others(found)).to.deep.equal({ 'nodes.versions': 'note', 'pods.current': 'note' })
    expect(textOf(found, 'nodes.versions')).to.equal('older than 1.33: node-old (1.31)')
    await policies.says('team-a', 'tools', 'Injected', 'AllRecorded')
  })

  it('names a stream that is set badly, and says that it cannot look without credentials', async () => {
    const aws = await startAwsDouble()
    const firehose = new FirehoseClient({ region: 'us-east-1', endpoint: aws.endpoint, credentials: { accessKeyId: STATIC_KEYS.id, secretAccessKey: STATIC_KEYS.secret }, maxAttempts: 1 })
    await firehose.send(new CreateDeliveryStreamCommand({ DeliveryStreamName: 'twice', DeliveryStreamType: 'DirectPut', ExtendedS3DestinationConfiguration: { BucketARN: 'arn:aws:s3:::recordings', RoleARN: 'arn:aws:iam::123456789012:role/firehose', Prefix: 'team-a/', ErrorOutputPrefix: 'errors/', CompressionFormat: 'GZIP', FileExtension: '.jsonl.gz' } }))
    await policies.put('team-a', 'shipped', { selector: { matchLabels: { app: 'none' } }, sink: { firehose: { stream: 'twice', region: 'us-east-1' } } })
    await policies.says('team-a', 'shipped', 'Ready', 'Ready')
    const mend = async (): Promise<void> => {
      await remove(policyPath('team-a', 'shipped'))
      firehose.destroy()
      await aws.close()
    }
    await during(mend, async () => {
      const blind = await doctor(['--skip', 'policies.pods'])
      expect(others(blind)).to.deep.equal({ streams: 'unknown' })
      expect(textOf(blind, 'streams')).to.equal('no AWS credentials here to look at twice in us-east-1')
      const seen = await doctor([], { env: { AWS_ENDPOINT_URL: aws.endpoint, AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret } })
      expect(Object.entries(others(seen)).filter(([id, state]) => id.startsWith('stream') && state === 'problem')).to.deep.equal([['stream.compression', 'problem']])
      expect(textOf(seen, 'stream.compression')).to.equal('twice in us-east-1: CompressionFormat is GZIP')
      expect(textOf(seen, 'streams')).to.equal('twice in us-east-1')
      await policies.put('team-a', 'shipped', { selector: { matchLabels: { app: 'none' } }, sink: { firehose: { stream: 'gone', region: 'us-east-1' } } })
      const gone = await doctor([], { env: { AWS_ENDPOINT_URL: aws.endpoint, AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret } })
      // What hangs on the stream is not told line by line.
      expect(Object.entries(others(gone)).filter(([id]) => /^(?:stream|bucket)/.test(id))).to.deep.equal([['stream.read', 'problem']])
    })
  })

  it('looks at one namespace when asked to', async () => {
    expect(textOf(await doctor(['-n', 'team-a']), 'policies.read')).to.equal('1 policy in team-a')
    expect(others(await doctor(['-n', 'nowhere', '--skip', 'injector.dry-run']))).to.deep.equal({ 'policies.read': 'note' })
  })

  it('takes credentials from a program that the kubeconfig names', async () => {
    const credential = JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } })
    await writeFile(join(folder, 'exec'), JSON.stringify(kubeconfig(server.cluster, { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: '/bin/sh', args: ['-c', 'printf %s "$CREDENTIAL"'], env: [{ name: 'CREDENTIAL', value: credential }] } })))
    expect(others(await doctor([], { config: 'exec' }))).to.deep.equal({})
  })

  it('says what the program for credentials leaves undone', async () => {
    await writeFile(join(folder, 'failing'), JSON.stringify(kubeconfig(server.cluster, { exec: { command: '/bin/false' } })))
    const found = await doctor([], { config: 'failing' })
    expect(textOf(found, 'cluster.reached')).to.include("'/bin/false', which the kubeconfig names for credentials, failed")
    expect(found.code).to.equal(1)
  })

  it('gives up when the program for credentials does not answer in time', async function () {
    // Less than the program takes.
    this.timeout(9000)
    await writeFile(join(folder, 'thinking'), JSON.stringify(kubeconfig(server.cluster, { exec: { command: '/bin/sleep', args: ['20'] } })))
    const found = await doctor(['--timeout', '200ms'], { config: 'thinking' })
    expect(findingsOf(found).filter(({ state, found: text }) => state !== 'unknown' || text !== 'no answer within 200ms')).to.deep.equal([])
  })

  it('compares with the certificate that is shown when it may not read the Secret', async () => {
    const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/roles/steno-doctor`
    const rules = objectsAt(await server.client.request(path), 'rules')
    await merge(path, { rules: rules.filter(each => !JSON.stringify(each['resources']).includes('secrets')) })
    await during(async () => await merge(path, { rules }), async () => {
      await until(async () => others(await doctor())['certificate.valid'] === 'unknown')
      expect(others(await doctor())).to.deep.equal({ 'certificate.valid': 'unknown' })
      await installWebhooks(server.client, { port, authority: createAuthority() })
      const found = await during(async () => await installWebhooks(server.client, webhook), async () => await doctor(['--skip', 'injector.dry-run']))
      expect(others(found)).to.deep.equal({ 'certificate.valid': 'unknown', 'certificate.trusted': 'problem' })
    })
    await until(async () => Object.keys(others(await doctor())).length === 0)
  })

  it('says that the installation is of another version, and then goes by what the operator counts', async () => {
    const path = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/steno-injector`
    await merge(path, { metadata: { labels: { 'app.kubernetes.io/version': '9.9.9' } } })
    const found = await during(async () => await merge(path, { metadata: { labels: { 'app.kubernetes.io/version': null } } }), doctor)
    expect(others(found)).to.deep.equal({ 'installation.version': 'note' })
    expect(textOf(found, 'pods.current')).to.equal('the operator counts none that is outdated')
  })

  it('says of each thing that it may not look, when it may not', async () => {
    const found = await doctor([], { config: 'nobody' })
    const states = new Map(findingsOf(found).map(({ id, state }) => [id, state]))
    expect(states.get('cluster.reached')).to.equal('ok')
    states.delete('cluster.reached')
    // Without these it does what it can: what stands for the Service is found without asking.
    expect([...states].filter(([, state]) => state !== 'unknown')).to.deep.equal([])
    expect(textOf(found, 'nodes.versions')).to.match(/^these credentials may not ask \(.*cannot list resource "nodes"/)
    expect(found.code).to.equal(1)
  })

  it('names an API server that cannot be reached, or does not know the credentials', async () => {
    await writeFile(join(folder, 'closed'), JSON.stringify(kubeconfig({ server: new URL(`https://127.0.0.1:${await freePort()}`) }, { token })))
    await writeFile(join(folder, 'stranger'), JSON.stringify(kubeconfig(server.cluster, { token: 'wrong' })))
    for (const config of ['closed', 'stranger']) {
      const found = findingsOf(await doctor([], { config }))
      expect(found.filter(({ state }) => state === 'problem').map(({ id }) => id), config).to.deep.equal(['cluster.reached'])
      expect(found.filter(({ state }) => state === 'ok'), config).to.deep.equal([])
    }
  })

  it('gives up when the API server does not answer in time', async function () {
    // Less than it takes to give up connecting.
    this.timeout(9000)
    const silent = createServer()
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    await writeFile(join(folder, 'silent'), JSON.stringify(kubeconfig({ server: new URL(`https://127.0.0.1:${(silent.address() as AddressInfo).port}`) }, { token })))
    const found = await during(async () => void silent.close(), async () => await doctor(['--timeout', '200ms'], { config: 'silent' }))
    expect(findingsOf(found).filter(({ state, found: text }) => state !== 'unknown' || text !== 'no answer within 200ms')).to.deep.equal([])
    expect(found.code).to.equal(1)
  })

  it('names an address at which something else than an API server answers', async () => {
    const other = createHttpServer((_, res) => void res.writeHead(404).end('not found'))
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    await writeFile(join(folder, 'other'), JSON.stringify(kubeconfig({ server: new URL(`http://127.0.0.1:${(other.address() as AddressInfo).port}`) }, { token })))
    const found = await during(async () => void other.close(), async () => await doctor([], { config: 'other' }))
    expect(textOf(found, 'cluster.reached')).to.equal('what answers there is no API server')
  })

  it('reads lists of several pages whole', async () => {
    const names: string[] = []
    for await (const object of eachOf(server.client, '/api/v1/namespaces', { page: 2, signal: AbortSignal.timeout(20_000) })) names.push(nameOf(object))
    expect(names).to.deep.equal(objectsAt(await server.client.request('/api/v1/namespaces'), 'items').map(nameOf))
    expect(names.length).to.be.greaterThan(4)
  })

  for (const [argv, says] of [
    [['--skip', 'pods'], "--skip 'pods' is none of cluster.reached, crd.installed"],
    [['-n', 'a/b'], '--namespace "a/b" is no name of a namespace'],
    [['--context', 'other'], "no context 'other'"],
  ] as const) {
    it(`refuses ${argv.join(' ')}`, async () => {
      const { code, err } = await doctor(argv)
      expect(err).to.include(says)
      expect(code).to.be.greaterThan(0)
    })
  }

  it('says what it would need when there is no cluster to reach', async () => {
    const { code, err } = await steno(['doctor'], { env: { HOME: folder } })
    expect(err).to.include('no cluster to look at').and.to.include('KUBECONFIG is not set')
    expect(code).to.equal(2)
    const gone = join(folder, 'gone')
    expect(await steno(['doctor'], { env: { HOME: folder, KUBECONFIG: gone } })).to.have.property('err').that.includes(`KUBECONFIG names no file that exists (${gone})`)
  })

  it('says that a server of the kubeconfig cannot be asked when its URL is none of http', async () => {
    await writeFile(join(folder, 'ftp'), JSON.stringify(kubeconfig({ server: new URL('http://x') }, { token })).replace('http://x', 'ftp://x'))
    const { code, err } = await doctor([], { config: 'ftp' })
    expect(err).to.include("names the server 'ftp://x")
    expect(code).to.equal(2)
  })

  it('finds nothing again when all is mended', async () => {
    expect(others(await doctor())).to.deep.equal({})
  })

  it('names a definition that is missing', async () => {
    await operator.stop()
    await remove('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sessionpolicies.steno.dev')
    await until(async () => others(await doctor())['crd.installed'] === 'problem')
    expect(findingsOf(await doctor()).filter(({ state }) => state === 'problem').map(({ id }) => id)).to.deep.equal(['crd.installed', 'operator.leader'])
  })
})
