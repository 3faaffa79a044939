/** Where the API server is and how we show who we are: from the pod's own service account, or from a kubeconfig. */

import { readFile } from 'node:fs/promises'
import { load } from 'js-yaml'

import { StenoError } from '../errors.ts'
import { objectAt, objectsAt, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'

export interface Cluster {
  readonly server: URL
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  /** Asked before each request: the kubelet replaces service account tokens. */
  readonly token: () => Promise<string | undefined>
}

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Rejects with `config.invalid`. */
export async function clusterFromPod(env: Readonly<Record<string, string | undefined>>): Promise<Cluster> {
  const host = env['KUBERNETES_SERVICE_HOST']
  if (host === undefined || host === '') throw new StenoError('config.invalid', 'not in a pod: KUBERNETES_SERVICE_HOST is not set; give --kubeconfig')
  const server = new URL(`https://${host.includes(':') ? `[${host}]` : host}:${env['KUBERNETES_SERVICE_PORT'] ?? '443'}`)
  return { server, ca: await text(`${ACCOUNT}/ca.crt`), token: async () => (await text(`${ACCOUNT}/token`)).trim() }
}

/** The current context of a kubeconfig with a token or a client certificate. Rejects with `config.invalid`. */
export async function clusterFromKubeconfig(path: string): Promise<Cluster> {
  const config = parsed(await text(path), path)
  const named = (list: string, name: string | undefined): JsonObject => objectsAt(config, list).find(each => each['name'] === name) ?? {}
  const context = objectAt(named('contexts', textAt(config, 'current-context')), 'context')
  const cluster = objectAt(named('clusters', textAt(context, 'cluster')), 'cluster')
  const user = objectAt(named('users', textAt(context, 'user')), 'user')
  const server = textAt(cluster, 'server')
  if (server === undefined || !URL.canParse(server)) throw new StenoError('config.invalid', `${path} has no current context with a server; run 'kubectl config use-context NAME'`)
  if (user['exec'] !== undefined || user['auth-provider'] !== undefined) throw new StenoError('config.invalid', `${path} asks for a program that gives credentials, which is not supported; use a token or a client certificate`)
  const ca = await inline(cluster, 'certificate-authority')
  const cert = await inline(user, 'client-certificate')
  const key = await inline(user, 'client-key')
  const token = textAt(user, 'token')
  const tokenFile = textAt(user, 'tokenFile')
  return {
    server: new URL(server),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    token: async () => (tokenFile === undefined ? token : (await text(tokenFile)).trim()),
  }
}

async function inline(from: JsonObject, field: string): Promise<string | undefined> {
  const data = textAt(from, `${field}-data`)
  if (data !== undefined) return Buffer.from(data, 'base64').toString()
  const file = textAt(from, field)
  return file === undefined ? undefined : await text(file)
}

function parsed(content: string, path: string): Json {
  try {
    return load(content) as Json
  } catch (cause) {
    throw new StenoError('config.invalid', `${path} is not YAML`, { cause })
  }
}

async function text(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new StenoError('config.invalid', `cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}
