/** The real injector, in this process, asked by a real API server. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { load } from 'js-yaml'

import { createKubeClient } from '../../src/kube/client.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLog } from '../../src/platform/log.ts'
import { isObject, objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { startWebhook } from '../../src/webhook/webhook.ts'
import type { Webhook, WebhookOptions } from '../../src/webhook/webhook.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { createAuthority } from './certificate.ts'
import type { Authority } from './certificate.ts'
import { settings } from './golden-pods.ts'
import { ensureNamespace } from './kube-apiserver.ts'
import { closeAtTheEnd } from './leftovers.ts'

export interface WebhookUnderTest extends Webhook {
  readonly authority: Authority
  readonly log: () => string
  readonly metrics: () => Promise<string>
  readonly ready: () => Promise<number>
  /** Replaces certificate and key on disk. */
  replaceCertificate(pair: { readonly cert: string; readonly key: string }): Promise<void>
}

export async function startWebhookFor(cluster: Cluster, options: Partial<WebhookOptions> & { readonly authority?: Authority; readonly names?: readonly string[] } = {}): Promise<WebhookUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'webhook-'))
  const authority = options.authority ?? createAuthority()
  const replaceCertificate = async ({ cert, key }: { readonly cert: string; readonly key: string }): Promise<void> => {
    await writeFile(join(folder, 'tls.crt'), cert)
    await writeFile(join(folder, 'tls.key'), key)
  }
  await replaceCertificate(authority.issue(options.names ?? ['127.0.0.1']))
  const client = createKubeClient(cluster)
  let logged = ''
  const webhook = await startWebhook({
    listen: { host: '127.0.0.1', port: 0 },
    admin: { host: '127.0.0.1', port: 0 },
    certificate: { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') },
    settings: settings(),
    client,
    instance: 'test',
    clock: systemClock,
    log: createLog({ level: 'info', write: line => void (logged += line), now: Date.now }),
    random: Math.random,
    drainMs: 0,
    ...options,
  })
  const stop = async (): Promise<void> => {
    await webhook.stop()
    await client.close()
    await rm(folder, { recursive: true, force: true })
  }
  closeAtTheEnd(stop)
  return {
    ...webhook,
    authority,
    stop,
    log: () => logged,
    metrics: async () => await (await fetch(`http://127.0.0.1:${webhook.adminPort}/metrics`)).text(),
    ready: async () => (await fetch(`http://127.0.0.1:${webhook.adminPort}/readyz`)).status,
    replaceCertificate,
  }
}

/** The configurations that are shipped, leading to a port of this machine instead of a Service. Without an authority, `caBundle` is somebody else's. */
export async function installWebhooks(client: KubeClient, { port, authority }: { readonly port: number; readonly authority?: Authority }, change: (webhook: JsonObject) => JsonObject = each => each): Promise<void> {
  for (const [file, collection] of [['mutating', 'mutatingwebhookconfigurations'], ['validating', 'validatingwebhookconfigurations']]) {
    const shipped = load(await readFile(new URL(`../../webhooks/${file}.yaml`, import.meta.url), 'utf8')) as JsonObject
    await putConfiguration(client, collection ?? '', { ...shipped, webhooks: objectsAt(shipped, 'webhooks').map(each => change(pointedAt(each, port, authority))) })
  }
}

export async function putConfiguration(client: KubeClient, collection: string, configuration: JsonObject): Promise<void> {
  const path = `/apis/admissionregistration.k8s.io/v1/${collection}`
  await client.request(`${path}/${textAt(configuration['metadata'], 'name')}?fieldManager=test&force=true`, { method: 'PATCH', contentType: 'application/apply-patch+yaml', body: configuration })
}

function pointedAt(webhook: JsonObject, port: number, authority: Authority | undefined): JsonObject {
  const { caBundle: _caBundle, ...clientConfig } = objectAt(reachedAt(webhook, port), 'clientConfig')
  return { ...webhook, clientConfig: { ...clientConfig, ...(authority === undefined ? {} : { caBundle: Buffer.from(authority.cert).toString('base64') }) } }
}

/** By a port of this machine instead of a Service; trusting what it trusts. */
export function reachedAt(webhook: JsonObject, port: number): JsonObject {
  const { service, ...clientConfig } = objectAt(webhook, 'clientConfig')
  return { ...webhook, clientConfig: { ...clientConfig, url: `https://127.0.0.1:${port}${textAt(service, 'path') ?? ''}` } }
}

/** The cluster as the injector sees it with nothing but the role that is shipped. */
export async function asInjector({ cluster, client }: { readonly cluster: Cluster; readonly client: KubeClient }): Promise<Cluster> {
  await ensureNamespace(client, 'steno-system')
  for (const file of ['role', 'certificates']) {
    const list = load(await readFile(new URL(`../../webhooks/${file}.yaml`, import.meta.url), 'utf8')) as JsonObject
    for (const object of objectsAt(list, 'items')) {
      const [apiVersion, namespace] = [textAt(object, 'apiVersion') ?? '', textAt(object['metadata'], 'namespace')]
      const collection = `${(textAt(object, 'kind') ?? '').toLowerCase()}s`
      await client.request(`/${apiVersion.includes('/') ? 'apis' : 'api'}/${apiVersion}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${collection}`, { method: 'POST', body: object })
    }
  }
  const answer = await client.request('/api/v1/namespaces/steno-system/serviceaccounts/steno-injector/token', { method: 'POST', body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} } })
  const token = textAt(objectAt(answer, 'status'), 'token')
  return { ...cluster, token: async () => token }
}

/** What an API server adds to any pod by itself, taken out, so that two pods can be compared. */
export function withoutDefaults(value: Json | undefined, model: Json | undefined): Json {
  if (Array.isArray(value)) return value.filter((each: Json) => textAt(each, 'name')?.startsWith('kube-api-access-') !== true).map((each: Json, index) => withoutDefaults(each, Array.isArray(model) ? model[index] : undefined))
  if (!isObject(value) || !isObject(model)) return value ?? null
  return Object.fromEntries(Object.entries(value).filter(([name]) => Object.hasOwn(model, name)).map(([name, each]) => [name, withoutDefaults(each, model[name])]))
}
