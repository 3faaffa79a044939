/** Where the API server is and how we show who we are: from the pod's own service account, or from a kubeconfig. */

import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { load } from 'js-yaml'

import { StenoError } from '../errors.ts'
import { objectAt, objectsAt, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'
import { execToken } from './exec-credential.ts'
import type { ExecDeps } from './exec-credential.ts'

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

export interface KubeconfigOptions {
  /** Name of a context; the current one when it is left out. */
  readonly context?: string | undefined
  /** With it, a program that the kubeconfig names is asked for credentials; without it such a kubeconfig is refused. */
  readonly exec?: ExecDeps
}

/** A context of a kubeconfig with a token, a client certificate, or a program that gives tokens. Rejects with `config.invalid`. */
export async function clusterFromKubeconfig(path: string, options: KubeconfigOptions = {}): Promise<Cluster> {
  const config = parsed(await text(path), path)
  const named = (list: string, name: string | undefined): JsonObject => objectsAt(config, list).find(each => each['name'] === name) ?? {}
  const context = objectAt(named('contexts', options.context ?? textAt(config, 'current-context')), 'context')
  const cluster = objectAt(named('clusters', textAt(context, 'cluster')), 'cluster')
  const user = objectAt(named('users', textAt(context, 'user')), 'user')
  const server = textAt(cluster, 'server')
  if (server === undefined || !URL.canParse(server)) {
    const which = options.context === undefined ? 'no current context' : `no context '${options.context}'`
    throw new StenoError('config.invalid', `${path} has ${which} with a server; run 'kubectl config use-context NAME'`)
  }
  if (!/^https?:$/.test(new URL(server).protocol)) throw new StenoError('config.invalid', `${path} names the server '${server}', which is neither https nor http; correct its cluster`)
  const exec = objectAt(user, 'exec')
  const asksProgram = user['exec'] !== undefined
  if (user['auth-provider'] !== undefined || (asksProgram && options.exec === undefined)) throw new StenoError('config.invalid', `${path} asks for a program that gives credentials, which is not supported; use a token or a client certificate`)
  const folder = dirname(path)
  const ca = await inline(cluster, 'certificate-authority', folder)
  const cert = await inline(user, 'client-certificate', folder)
  const key = await inline(user, 'client-key', folder)
  const token = textAt(user, 'token')
  const tokenFile = textAt(user, 'tokenFile')
  const tokenOf = asksProgram && options.exec !== undefined ? execToken(exec, options.exec) : async () => (tokenFile === undefined ? token : (await text(resolve(folder, tokenFile))).trim())
  return { server: new URL(server), ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }), token: tokenOf }
}

/** @param folder of the kubeconfig: files that it names are found from there */
async function inline(from: JsonObject, field: string, folder: string): Promise<string | undefined> {
  const data = textAt(from, `${field}-data`)
  if (data !== undefined) return Buffer.from(data, 'base64').toString()
  const file = textAt(from, field)
  return file === undefined ? undefined : await text(resolve(folder, file))
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
