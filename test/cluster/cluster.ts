/** The cluster of the scenario, from outside: kubectl, helm, and what only the node's own tools can do. */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { setTimeout as wait } from 'node:timers/promises'

import { isObject, numberAt, objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { CHART } from '../support/helm.ts'

const run = promisify(execFile)
const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export const INSTALLATION = 'steno-system'
export const IMAGE = process.env['STENO_IMAGE'] ?? 'localhost/steno:0.0.0'
export const TEST_IMAGE = process.env['STENO_TEST_IMAGE'] ?? 'localhost/steno-test:0.0.0'
/** Under which pods reach the machine that runs the tests. */
export const HOST = process.env['STENO_TEST_HOST'] ?? '10.244.0.1'
/** Kills containers, and stops and starts the kubelet; of another cluster, a program that does the same. */
const NODE = process.env['STENO_NODE'] ?? at('hack/cluster/node.sh')

const WITHIN_MS = 60_000
const LOOK_MS = 200
const MAX_OUTPUT = 1 << 26

let kubectlPath: string | undefined

async function kubectlProgram(): Promise<string> {
  kubectlPath ??= await run(at('hack/cluster/binaries.sh'), ['--find']).then(({ stdout }) => `${stdout.trim()}/kubectl`, () => 'kubectl')
  return kubectlPath
}

/** Rejects with what it said when it fails. */
export async function kubectl(args: readonly string[], input?: string): Promise<string> {
  const running = run(await kubectlProgram(), args, { maxBuffer: MAX_OUTPUT, timeout: 5 * WITHIN_MS })
  // One that ended before it read everything says so by its code.
  running.child.stdin?.on('error', () => {}).end(input ?? '')
  return (await running).stdout
}

export interface Forward {
  /** On this machine. */
  readonly port: string
  close(): Promise<void>
}

/** `kubectl port-forward` to a port of a pod. @param flags such as namespace and kubeconfig */
export async function forwardTo(pod: string, port: number, flags: readonly string[]): Promise<Forward> {
  const forward = spawn(await kubectlProgram(), [...flags, 'port-forward', `pod/${pod}`, `:${port}`], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(forward, 'exit')
  return {
    port: await new Promise<string>((resolve, reject) => {
      createInterface({ input: forward.stdout }).on('line', line => {
        const found = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
        if (found !== undefined) resolve(found)
      })
      forward.once('exit', () => reject(new Error('port-forward ended')))
    }),
    close: async () => {
      forward.kill()
      await ended
    },
  }
}

export async function get(...args: readonly string[]): Promise<JsonObject> {
  const value: unknown = JSON.parse(await kubectl(['get', ...args, '-o', 'json']))
  return isObject(value) ? value : {}
}

export async function items(...args: readonly string[]): Promise<readonly JsonObject[]> {
  return objectsAt(await get(...args), 'items')
}

export async function apply(...objects: readonly JsonObject[]): Promise<void> {
  await kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }))
}

export async function node(...args: readonly string[]): Promise<void> {
  await run(NODE, args, { timeout: WITHIN_MS })
}

export async function helm(...args: readonly string[]): Promise<string> {
  const { stdout: program } = await run(at('hack/kubernetes/helm.sh'), ['--find'])
  return (await run(program.trim(), args, { maxBuffer: MAX_OUTPUT, timeout: 4 * WITHIN_MS })).stdout
}

/** Looks again until `look` gives something; rejects with what it saw last when that takes too long. */
export async function until<T>(what: string, look: () => Promise<T | undefined>, withinMs = WITHIN_MS): Promise<T> {
  const deadline = performance.now() + withinMs
  let last: unknown
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined) return found
    } catch (error) {
      last = error
    }
    if (performance.now() > deadline) throw new Error(`${what} did not come within ${withinMs / 1000} s`, { cause: last })
    await wait(LOOK_MS)
  }
}

/** Installs, or brings an installation to these values. Each is `name=value`, as for `--set`; `texts` are values that look like numbers and are none. Replicas of before answer on for a while, and set recorders up as they were: it waits for their end. */
export async function install(values: readonly string[], chart = CHART, texts: readonly string[] = []): Promise<void> {
  const colon = IMAGE.lastIndexOf(':')
  await helm('upgrade', '--install', 'steno', chart, '--namespace', INSTALLATION, '--create-namespace', '--reset-values', '--wait', '--timeout', '180s', ...[`image.repository=${IMAGE.slice(0, colon)}`, `image.tag=${IMAGE.slice(colon + 1)}`, ...values].flatMap(each => ['--set', each]), ...texts.flatMap(each => ['--set-string', each]))
  await until('the end of the replicas before', async () => {
    const { spec } = await get('deployment', 'steno-injector', '-n', INSTALLATION)
    const all = await items('pods', '-n', INSTALLATION, '-l', 'app.kubernetes.io/component=injector')
    return all.length === numberAt(spec, 'replicas') ? true : undefined
  })
}

export interface Namespace {
  readonly name: string
  remove(): Promise<void>
}

export async function namespace(name: string, labels: Readonly<Record<string, string>> = {}): Promise<Namespace> {
  const full = `${name}-${Math.random().toString(36).slice(2, 7)}`
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: full, labels } })
  await until('its service account', async () => await get('serviceaccount', 'default', '-n', full))
  return { name: full, remove: async () => void (await kubectl(['delete', 'namespace', full, '--wait=false', '--ignore-not-found'])) }
}

/** Pods of the namespace that are neither ending nor done. */
export async function pods(ns: string, selector = 'app=server'): Promise<readonly JsonObject[]> {
  const all = await items('pods', '-n', ns, '-l', selector)
  return all.filter(each => objectAt(each, 'metadata')['deletionTimestamp'] === undefined && !['Succeeded', 'Failed'].includes(textAt(each['status'], 'phase') ?? ''))
}

export function nameOf(object: JsonObject): string {
  return textAt(object['metadata'], 'name') ?? ''
}

export function isReady(pod: JsonObject): boolean {
  return objectsAt(pod['status'], 'conditions').some(each => each['type'] === 'Ready' && each['status'] === 'True')
}

/** As the runtime knows it. */
function containerId(pod: JsonObject, name: string): string | undefined {
  const statuses = ['containerStatuses', 'initContainerStatuses'].flatMap(list => objectsAt(pod['status'], list))
  return textAt(statuses.find(each => each['name'] === name), 'containerID')?.replace(/^.*:\/\//, '')
}

/** Kills a container from outside, as the kernel does when memory is short, and waits until another runs in its place. */
export async function killContainer(ns: string, pod: string, container: string): Promise<void> {
  const before = containerId(await get('pod', pod, '-n', ns), container)
  if (before === undefined) throw new Error(`${pod} has no running ${container}`)
  await node('kill', before)
  await until(`another ${container}`, async () => {
    const now = await get('pod', pod, '-n', ns)
    const id = containerId(now, container)
    return id !== undefined && id !== before && isReady(now) ? id : undefined
  })
}

export interface ServerOptions {
  readonly labels?: Readonly<Record<string, string>>
  readonly replicas?: number
  readonly pod?: JsonObject
  readonly container?: JsonObject
}

/** A Deployment and a Service that know nothing of Steno. The Service names the port, as most do. */
export function server(ns: string, name = 'server', { labels = {}, replicas = 1, pod = {}, container = {} }: ServerOptions = {}): readonly JsonObject[] {
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: ns },
      spec: {
        replicas,
        selector: { matchLabels: { app: name } },
        template: {
          metadata: { labels: { app: name, 'app.kubernetes.io/component': 'mcp', ...labels } },
          spec: { terminationGracePeriodSeconds: 20, ...pod, containers: [{ name: 'server', image: TEST_IMAGE, imagePullPolicy: 'IfNotPresent', args: ['serve', '8080'], ports: [{ name: 'mcp', containerPort: 8080 }], readinessProbe: { httpGet: { path: '/healthz', port: 'mcp' }, periodSeconds: 1 }, ...container }] },
        },
      },
    },
    { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: ns }, spec: { selector: { app: name }, ports: [{ name: 'mcp', port: 80, targetPort: 'mcp' }] } },
  ]
}

export function policy(ns: string, spec: JsonObject = {}, name = 'tools'): JsonObject {
  return { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name, namespace: ns }, spec: { selector: { matchLabels: { 'app.kubernetes.io/component': 'mcp' } }, ...spec } }
}

export async function rolledOut(ns: string, name = 'server'): Promise<void> {
  await kubectl(['rollout', 'status', `deployment/${name}`, '-n', ns, '--timeout=120s'])
}

/** Where the Service answers on this machine: a node, or a machine with a route to it. */
export async function urlOf(ns: string, name = 'server'): Promise<string> {
  const address = textAt((await get('service', name, '-n', ns))['spec'], 'clusterIP')
  if (address === undefined) throw new Error(`service ${name} has no address`)
  return `http://${address}/mcp`
}

/** kube-proxy of the node writes its rules at most so often. */
const PROXY_MS = 300

/** Waits until what is at a URL can be reached: a node learns of a Service, of new pods and of those that went a moment after the API server. */
export async function reachable(url: string): Promise<void> {
  const { hostname, port } = new URL(url)
  const tried = async (): Promise<void> => {
    const socket = connect({ host: hostname, port: Number(port || 80) })
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(PROXY_MS) })
    } finally {
      socket.destroy()
    }
  }
  await until(`a way to ${url}`, async () => {
    await tried()
    await wait(PROXY_MS)
    await tried()
    return true
  })
}

/** Without a cluster the scenario is skipped; in CI that is a failure. */
export function needCluster(test: Mocha.Context): void {
  const config = process.env['KUBECONFIG']
  if (config !== undefined && existsSync(config)) return
  const says = 'no cluster: set KUBECONFIG, or run npm run cluster:node'
  if (process.env['CI'] === 'true') throw new Error(says)
  console.log(`  skipped, ${says}`)
  test.skip()
}
