/** Pods of all kinds: those that end, those that are held to the strictest rules, and those whose start needs the network. */

import { expect } from 'chai'

import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { callOnce } from './client.ts'
import { apply, forwardTo, get, INSTALLATION, install, isReady, items, kubectl, nameOf, namespace, needCluster, pods, policy, rolledOut, server, TEST_IMAGE, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

const RESTRICTED: JsonObject = { runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } }
/** Something that is always there, by its address in the cluster. */
const NEEDS_NETWORK: JsonObject = { name: 'needs-network', image: TEST_IMAGE, imagePullPolicy: 'IfNotPresent', args: ['fetch', 'https://$(KUBERNETES_SERVICE_HOST):443/livez'] }
const JOB_SECONDS = 15

async function onlyPod(ns: string, selector = 'app=server'): Promise<JsonObject> {
  return await until('one pod that is ready', async () => {
    const all = await pods(ns, selector)
    return all.length === 1 && all[0] !== undefined && isReady(all[0]) ? all[0] : undefined
  })
}

function recorded(pod: JsonObject): boolean {
  return textAt(objectAt(objectAt(pod, 'metadata'), 'labels'), 'steno.dev/recorded') === 'true'
}

describe('pods of all kinds in a cluster', function () {
  this.timeout(180_000)
  const made: Namespace[] = []
  const inNamespace = async (name: string, labels: Readonly<Record<string, string>> = {}, spec: JsonObject = {}): Promise<string> => {
    const one = await namespace(name, labels)
    made.push(one)
    await apply(policy(one.name, spec))
    return one.name
  }
  const exported = async (ns: string, pod: JsonObject): Promise<string> => {
    const steno = async (...args: string[]): Promise<string> => await kubectl(['exec', nameOf(pod), '-n', ns, '-c', 'steno-recorder', '--', 'steno', ...args])
    const [name = ''] = await until('a session', async () => {
      const names = (await steno('list', '-o', 'name')).trim().split('\n')
      return names[0] === '' ? undefined : names
    })
    return await steno('export', name)
  }

  before(async function () {
    needCluster(this)
    await install([])
  })
  after(async () => await Promise.all(made.map(async each => await each.remove())))

  it('completes a Job whose server has ended, and records what it answered', async () => {
    const ns = await inNamespace('job')
    await apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'server', namespace: ns },
      spec: { backoffLimit: 0, template: { metadata: { labels: { app: 'server', 'app.kubernetes.io/component': 'mcp' } }, spec: { restartPolicy: 'Never', containers: [{ name: 'server', image: TEST_IMAGE, imagePullPolicy: 'IfNotPresent', args: ['serve', '8080', String(JOB_SECONDS)], ports: [{ name: 'mcp', containerPort: 8080 }], readinessProbe: { httpGet: { path: '/healthz', port: 'mcp' }, periodSeconds: 1 } }] } } },
    })
    const pod = await onlyPod(ns)
    expect(recorded(pod)).to.equal(true)
    expect(await callOnce(`http://${textAt(pod['status'], 'podIP')}:15080/mcp`, 'answer', { id: 'job' })).to.equal('answer-job')
    await until('the end of the job', async () => {
      const conditions = objectsAt((await get('job', 'server', '-n', ns))['status'], 'conditions')
      if (conditions.some(each => each['type'] === 'Failed' && each['status'] === 'True')) throw new Error('the job failed')
      return conditions.some(each => each['type'] === 'Complete' && each['status'] === 'True') ? true : undefined
    })
    const log = await kubectl(['logs', nameOf(pod), '-n', ns, '-c', 'steno-recorder'])
    expect(log).to.include('everything is shipped')
  })

  it('admits a pod into a namespace that enforces the level restricted, and records it', async () => {
    const ns = await inNamespace('restricted', { 'pod-security.kubernetes.io/enforce': 'restricted' })
    await apply(...server(ns, 'server', { container: { securityContext: RESTRICTED } }))
    await rolledOut(ns)
    const pod = await onlyPod(ns)
    expect(recorded(pod)).to.equal(true)
    expect(await callOnce(await urlOf(ns), 'answer', { id: 'restricted' })).to.equal('answer-restricted')
    expect(await exported(ns, pod)).to.include('answer-restricted')
  })

  for (const capture of ['Port', 'Redirect'] as const) {
    it(`lets an init container use the network, with capture ${capture}`, async () => {
      const ns = await inNamespace(`init-${capture.toLowerCase()}`, capture === 'Redirect' ? { 'pod-security.kubernetes.io/enforce': 'privileged' } : {}, { capture })
      await apply(...server(ns, 'server', { pod: { initContainers: [NEEDS_NETWORK] } }))
      await rolledOut(ns)
      expect(recorded(await onlyPod(ns))).to.equal(true)
      expect(await callOnce(await urlOf(ns), 'answer', { id: 'init' })).to.equal('answer-init')
    })
  }

  it('records what comes by pod IP to the number of the server, with capture Redirect', async () => {
    const ns = await inNamespace('redirect', { 'pod-security.kubernetes.io/enforce': 'privileged' }, { capture: 'Redirect' })
    await apply(...server(ns))
    await rolledOut(ns)
    const pod = await onlyPod(ns)
    expect(await callOnce(`http://${textAt(pod['status'], 'podIP')}:8080/mcp`, 'answer', { id: 'direct' })).to.equal('answer-direct')
    expect(await exported(ns, pod)).to.include('answer-direct')
  })

  it('records what kubectl port-forward brings, and what comes from inside the pod, with capture Redirect, and no probe', async () => {
    const ns = await inNamespace('forward', { 'pod-security.kubernetes.io/enforce': 'privileged' }, { capture: 'Redirect' })
    // A pod that is ready has been probed.
    await apply(...server(ns))
    await rolledOut(ns)
    const pod = await onlyPod(ns)
    const forward = await forwardTo(nameOf(pod), 8080, ['-n', ns])
    try {
      expect(await callOnce(`http://127.0.0.1:${forward.port}/mcp`, 'answer', { id: 'forwarded' })).to.equal('answer-forwarded')
    } finally {
      await forward.close()
    }
    const inside = "fetch('http://localhost:8080/inside').then(answer => console.log(answer.status))"
    expect(await kubectl(['exec', nameOf(pod), '-n', ns, '-c', 'server', '--', '/usr/bin/node', '-e', inside])).to.equal('404\n')
    const steno = async (...args: string[]): Promise<string> => await kubectl(['exec', nameOf(pod), '-n', ns, '-c', 'steno-recorder', '--', 'steno', ...args])
    const sessions = await until('both sessions', async () => {
      const names = (await steno('list', '-o', 'name')).trim().split('\n')
      return names.length > 1 ? names : undefined
    })
    const recording = (await Promise.all(sessions.map(async name => await steno('export', name)))).join('')
    expect(recording).to.include('answer-forwarded').and.to.include('"target":"/inside"')
    expect(recording).to.not.include('/healthz')
  })

  it('keeps other pods, and not the kubelet, from the numbers of probes with capture Redirect', async () => {
    const ns = await inNamespace('probes', { 'pod-security.kubernetes.io/enforce': 'privileged' }, { capture: 'Redirect' })
    await apply(...server(ns), ...server(ns, 'other', { labels: { 'app.kubernetes.io/component': 'other' } }))
    await rolledOut(ns)
    await rolledOut(ns, 'other')
    const fromAnotherPod = async (pod: JsonObject, port: number): Promise<string> => (await kubectl(['exec', 'deployment/other', '-n', ns, '--', '/usr/bin/node', '/program.mjs', 'connect', textAt(pod['status'], 'podIP') ?? '', String(port)])).trim()
    const first = await onlyPod(ns)
    await until('the closed number', async () => ((await fromAnotherPod(first, 15_100)) === 'open' ? undefined : true))
    // A pod that is ready has been probed: this one with the NetworkPolicy in force all the while.
    await kubectl(['rollout', 'restart', 'deployment/server', '-n', ns])
    await rolledOut(ns)
    const pod = await onlyPod(ns)
    expect(nameOf(pod)).to.not.equal(nameOf(first))
    expect(await fromAnotherPod(pod, 8080)).to.equal('open')
    await until('the closed number of the new pod', async () => ((await fromAnotherPod(pod, 15_100)) === 'open' ? undefined : true))
  })

  it('keeps no pod of the installation itself from starting, and records none', async () => {
    const own = await items('pods', '-n', INSTALLATION)
    expect(own.length).to.be.greaterThan(3)
    expect(own.filter(recorded).map(nameOf)).to.deep.equal([])
  })
})
