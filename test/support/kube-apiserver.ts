/** A real kube-apiserver with a real etcd, on loopback, with nobody in it but an admin. Where the programs come from: `hack/kubernetes/assets.sh`. */

import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, isIPv6 } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { load } from 'js-yaml'

import { createKubeClient, KubeError } from '../../src/kube/client.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { hostPort } from '../../src/platform/address.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { createAuthority } from './certificate.ts'
import { closeAtTheEnd } from './leftovers.ts'

export interface ApiServer {
  readonly cluster: Cluster
  readonly port: number
  readonly client: KubeClient
  /** A kubeconfig of the admin. */
  readonly kubeconfig: string
  /** Ends the API server alone, at once, and starts it again on the same data. */
  restart(): Promise<void>
  stop(): Promise<void>
}

const ROOT = new URL('../../', import.meta.url)
const READY_MS = 60_000

/** The folder with both programs. In CI they must be there; elsewhere undefined says that the tests are to be skipped. */
export function kubeAssets(): string | undefined {
  try {
    return execFileSync(new URL('hack/kubernetes/assets.sh', ROOT).pathname, ['--find'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  } catch (error) {
    const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr).trim() : String(error)
    if (process.env['CI'] === 'true') throw new Error(stderr, { cause: error })
    console.log(`  skipped, a real API server is missing: ${stderr}`)
    return undefined
  }
}

export interface ApiServerOptions {
  /** Of the tokens of service accounts. */
  readonly issuer?: string
  /** Where it listens; 127.0.0.1 when absent. */
  readonly host?: string
}

export async function startApiServer(assets: string, { issuer = 'https://kubernetes.default.svc', host = '127.0.0.1' }: ApiServerOptions = {}): Promise<ApiServer> {
  const folder = mkdtempSync(join(tmpdir(), 'kube-'))
  const token = randomBytes(16).toString('hex')
  const authority = createAuthority()
  const serving = authority.issue([host, 'localhost', 'kubernetes.default.svc'])
  const [etcdPort, port] = [await freePort(), await freePort()]
  const file = (name: string, content: string): string => {
    const path = join(folder, name)
    writeFileSync(path, content)
    return path
  }
  const key = file('tls.key', serving.key)
  const children = new Set<ChildProcess>()
  const run = (program: string, args: readonly string[]): { readonly child: ChildProcess; readonly output: () => string } => {
    const child = spawn(join(assets, program), args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: folder })
    let output = ''
    child.stderr.on('data', (chunk: Buffer) => (output = `${output}${chunk.toString()}`.slice(-4000)))
    child.on('exit', () => children.delete(child))
    children.add(child)
    return { child, output: () => output }
  }
  const end = async (child: ChildProcess): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  run('etcd', ['--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--log-level=error', `--listen-client-urls=http://127.0.0.1:${etcdPort}`, `--advertise-client-urls=http://127.0.0.1:${etcdPort}`, '--listen-peer-urls=http://127.0.0.1:0'])
  const startServer = (): { readonly child: ChildProcess; readonly output: () => string } =>
    run('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      `--bind-address=${host}`,
      `--secure-port=${port}`,
      `--tls-cert-file=${file('tls.crt', serving.cert)}`,
      `--tls-private-key-file=${key}`,
      `--token-auth-file=${file('tokens.csv', `${token},admin,admin,system:masters\n`)}`,
      '--authorization-mode=RBAC',
      '--allow-privileged=true',
      // It wants Services and itself in one family; nobody uses the address that it advertises.
      ...(isIPv6(host) ? ['--service-cluster-ip-range=fd00:10::/112', '--advertise-address=2001:db8::1'] : ['--service-cluster-ip-range=10.0.0.0/24']),
      `--service-account-issuer=${issuer}`,
      `--service-account-key-file=${key}`,
      `--service-account-signing-key-file=${key}`,
      '--watch-cache=true',
      '--v=0',
    ])
  let server = startServer()
  const cluster: Cluster = { server: new URL(`https://${hostPort(host, port)}`), ca: authority.cert, token: async () => token }
  const client = createKubeClient(cluster)
  const ready = async (): Promise<void> => {
    const deadline = performance.now() + READY_MS
    for (;;) {
      try {
        await client.request('/api/v1/namespaces/default')
        return
      } catch (error) {
        if (server.child.exitCode !== null) throw new Error(`kube-apiserver ended: ${server.output()}`, { cause: error })
        if (performance.now() > deadline) throw new Error(`kube-apiserver is not ready: ${server.output()}`, { cause: error })
        await wait(100)
      }
    }
  }
  const stop = async (): Promise<void> => {
    await client.close()
    await Promise.all([...children].map(end))
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
  closeAtTheEnd(stop)
  await ready()
  const kubeconfig = join(folder, 'kubeconfig')
  await writeFile(kubeconfig, JSON.stringify({ apiVersion: 'v1', kind: 'Config', 'current-context': 'c', contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }], clusters: [{ name: 'c', cluster: { server: cluster.server.origin, 'certificate-authority-data': Buffer.from(authority.cert).toString('base64') } }], users: [{ name: 'u', user: { token } }] }))
  return {
    cluster,
    port,
    client,
    kubeconfig,
    restart: async () => {
      await end(server.child)
      server = startServer()
      await ready()
    },
    stop,
  }
}

/** A port that was free a moment ago: these programs cannot choose one themselves. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export async function installCrd(client: KubeClient): Promise<void> {
  const crd = load(await readFile(new URL('crds/sessionpolicies.steno.dev.yaml', ROOT), 'utf8')) as JsonObject
  await client.request('/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldValidation=Strict', { method: 'POST', body: crd })
  await until(async () => {
    const stored = await client.request('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sessionpolicies.steno.dev')
    return objectsAt(objectAt(stored, 'status'), 'conditions').some(each => each['type'] === 'Established' && each['status'] === 'True')
  })
  // Established a moment before it is served.
  await until(async () => {
    try {
      await client.request('/apis/steno.dev/v1alpha1/sessionpolicies')
      return true
    } catch (error) {
      if (error instanceof KubeError) return false
      throw error
    }
  })
}

/** Asks until it is so. The test's own time-out ends it, or `ms`. */
export async function until(isSo: () => Promise<boolean>, ms = Infinity): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not so within ${ms} ms`)
    await wait(20)
  }
}

/** A namespace with the service account that pods need; the controller that makes it is not there. */
export async function createNamespace(client: KubeClient, name: string, metadata: JsonObject = {}): Promise<void> {
  await client.request('/api/v1/namespaces', { method: 'POST', body: { apiVersion: 'v1', kind: 'Namespace', metadata: { ...metadata, name } } })
  await client.request(`/api/v1/namespaces/${name}/serviceaccounts`, { method: 'POST', body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } } })
}

/** The same, unless it is there. */
export async function ensureNamespace(client: KubeClient, name: string): Promise<void> {
  await createNamespace(client, name).catch((error: unknown) => {
    if (!(error instanceof KubeError && error.status === 409)) throw error
  })
}

export async function createNode(client: KubeClient, name: string, kubeletVersion: string): Promise<void> {
  await client.request('/api/v1/nodes', { method: 'POST', body: { apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { 'kubernetes.io/os': 'linux' } } } })
  await client.request(`/api/v1/nodes/${name}/status`, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { status: { nodeInfo: { kubeletVersion, machineID: '', systemUUID: '', bootID: '', kernelVersion: '', osImage: '', containerRuntimeVersion: '', kubeProxyVersion: '', operatingSystem: 'linux', architecture: 'amd64' } } } })
}

export function nameOf(object: JsonObject): string {
  return textAt(object['metadata'], 'name') ?? ''
}

export type { Json }
