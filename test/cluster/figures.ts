/**
 * Figures of a cluster, for docs/performance.md: what a recorder adds to the start of a pod, and the memory of each part. Printed, not judged.
 *
 *     node test/cluster/figures.ts
 */

import { objectAt, objectsAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { apply, INSTALLATION, install, isReady, items, kubectl, nameOf, namespace, pods, policy, server, until } from './cluster.ts'

const ROUNDS = 7
const READY_WITHIN_S = 60

/** A pod that goes again. @returns ms from `kubectl apply` until it is ready */
async function start(ns: string, name: string): Promise<number> {
  const [deployment] = server(ns)
  const template = objectAt(objectAt(deployment ?? {}, 'spec'), 'template')
  const began = performance.now()
  await apply({ apiVersion: 'v1', kind: 'Pod', metadata: { ...objectAt(template, 'metadata'), name, namespace: ns }, spec: { ...objectAt(template, 'spec'), terminationGracePeriodSeconds: 1 } })
  await kubectl(['wait', '--for=condition=Ready', `pod/${name}`, '-n', ns, `--timeout=${READY_WITHIN_S}s`])
  const took = performance.now() - began
  await kubectl(['delete', 'pod', name, '-n', ns, '--wait=true'])
  return took
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/** Resident, of the first process of a container. */
async function memoryMib(ns: string, pod: string, container: string): Promise<string> {
  const status = await kubectl(['exec', pod, '-n', ns, '-c', container, '--', '/usr/bin/node', '-p', "require('node:fs').readFileSync('/proc/1/status', 'utf8')"])
  const field = (name: string): number => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024)
  return `${field('VmRSS')} MiB, highest ${field('VmHWM')} MiB`
}

await install([])
const [plain, recorded] = [await namespace('plain'), await namespace('recorded')]
await apply(policy(recorded.name))
try {
  const [without, withRecorder]: [number[], number[]] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    without.push(await start(plain.name, `pod-${round}`))
    withRecorder.push(await start(recorded.name, `pod-${round}`))
  }
  const seconds = (values: readonly number[]): string => `median ${(median(values) / 1000).toFixed(2)} s (${values.map(each => (each / 1000).toFixed(2)).join(', ')})`
  console.log(`apply until Ready, without a recorder: ${seconds(without)}`)
  console.log(`apply until Ready, with one:           ${seconds(withRecorder)}`)
  console.log(`added: ${((median(withRecorder) - median(without)) / 1000).toFixed(2)} s`)
  await apply(...server(recorded.name))
  const pod = await until('a pod', async () => (await pods(recorded.name)).find(isReady))
  console.log(`recorder at rest: ${await memoryMib(recorded.name, nameOf(pod), 'steno-recorder')}`)
  for (const part of ['injector', 'operator']) {
    const parts: readonly JsonObject[] = await pods(INSTALLATION, `app.kubernetes.io/component=${part}`)
    for (const each of parts) console.log(`${part} ${nameOf(each)}: ${await memoryMib(INSTALLATION, nameOf(each), part)}`)
  }
  const [node = {}] = await items('nodes')
  for (const { names = [], sizeBytes } of objectsAt(node['status'], 'images')) if (JSON.stringify(names).includes('steno')) console.log(`${JSON.stringify(names)}: ${Math.round(Number(sizeBytes) / 1048576)} MiB packed`)
} finally {
  await plain.remove()
  await recorded.remove()
}
