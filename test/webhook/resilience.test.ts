import { createServer } from 'node:https'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:tls'

import { expect } from 'chai'

import { createKubeClient, KubeError } from '../../src/kube/client.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { createAuthority } from '../support/certificate.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer, until } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { startInjectorProcess } from '../support/injector-process.ts'
import { openLink } from '../support/link.ts'
import { bodyOf } from '../support/recorder.ts'
import { asInjector, installWebhooks, putConfiguration, startWebhookFor } from '../support/webhook.ts'

const LOADERS = 4

describe('the injector, when things go wrong', function () {
  this.timeout(180_000)
  let server: ApiServer

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
  })
  after(async () => await server?.stop())

  const pod = (changes: JsonObject = {}): JsonObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'server-' }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }] }] }, ...changes })
  const create = async (namespace: string): Promise<JsonObject> => await server.client.request(`/api/v1/namespaces/${namespace}/pods?dryRun=All`, { method: 'POST', body: pod() })
  const isRecorded = (made: JsonObject): boolean => textsAt(made['metadata'], 'labels')['steno.dev/recorded'] === 'true'
  const policies = (namespace: string): string => `/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies`
  const addPolicy = async (namespace: string, name = 'tools', spec: Json = { selector: {} }): Promise<void> => {
    await server.client.request(policies(namespace), { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name }, spec } })
  }
  /** Whether pods of the namespace come out recorded; false while the webhook cannot be asked. */
  const comesOutRecorded = async (namespace: string): Promise<boolean> => {
    try {
      return isRecorded(await create(namespace))
    } catch (error) {
      if (error instanceof KubeError) return false
      throw error
    }
  }
  /** An API server that has just started serves the kinds of others a moment later. */
  const served = async (): Promise<boolean> => {
    try {
      await server.client.request('/apis/steno.dev/v1alpha1/sessionpolicies')
      return true
    } catch (error) {
      if (error instanceof KubeError) return false
      throw error
    }
  }
  const strict = { labels: { 'steno.dev/strict': 'true' } }

  /** Creates pods without a break until `during` is over, then some more. @returns how many, and what went wrong */
  const underLoad = async (namespace: string, during: () => Promise<void>): Promise<{ readonly made: number; readonly wrong: readonly string[] }> => {
    let made = 0
    let over = false
    const wrong: string[] = []
    const loaders = Array.from({ length: LOADERS }, async () => {
      while (!over) {
        try {
          if (!isRecorded(await create(namespace))) wrong.push('not recorded')
          made++
        } catch (error) {
          wrong.push(error instanceof Error ? error.message : String(error))
        }
      }
    })
    const more = async (count: number): Promise<void> => {
      const enough = made + count
      await until(async () => made >= enough || wrong.length > 10)
    }
    await more(40)
    await during()
    await more(40)
    over = true
    await Promise.all(loaders)
    return { made, wrong }
  }

  it('loses no pod when one of three replicas ends under load', async () => {
    await createNamespace(server.client, 'replicas', strict)
    const authority = createAuthority()
    const replicas = await Promise.all([1, 2, 3].map(async () => await startWebhookFor(server.cluster, { authority, drainMs: 1500 })))
    await Promise.all(replicas.map(async each => await each.synced))
    const service = await openLink(replicas.map(each => each.port))
    try {
      await installWebhooks(server.client, { port: service.port, authority })
      await addPolicy('replicas')
      await until(async () => await comesOutRecorded('replicas'))
      const { made, wrong } = await underLoad('replicas', async () => {
        const [first, ...others] = replicas
        // As endpoints do, the balancer learns of it, and what is connected stays connected.
        const ending = first?.stop()
        service.to(others.map(each => each.port))
        await ending
      })
      expect(wrong).to.deep.equal([])
      expect(made).to.be.at.least(80)
    } finally {
      await service.close()
      await Promise.all(replicas.map(async each => await each.stop()))
    }
  })

  it('lets no pod in without its recorder when one of three replicas is killed under load, and refuses only what that one was deciding', async () => {
    await createNamespace(server.client, 'killed', strict)
    const authority = createAuthority()
    const replicas = await Promise.all([1, 2, 3].map(async () => await startInjectorProcess(server.kubeconfig, authority)))
    const service = await openLink(replicas.map(each => each.port))
    try {
      await installWebhooks(server.client, { port: service.port, authority })
      await addPolicy('killed')
      await until(async () => await comesOutRecorded('killed'))
      for (const each of replicas.slice(0, 2)) {
        const before = service.refused()
        const { made, wrong } = await underLoad('killed', async () => {
          await each.kill()
          // Until here the balancer goes on sending there, as a Service does until its endpoints have changed.
          service.to(replicas.slice(replicas.indexOf(each) + 1).map(({ port }) => port))
        })
        expect(wrong).to.not.include('not recorded')
        // Who makes pods (a ReplicaSet, a Job) tries again.
        for (const reason of wrong) expect(reason).to.match(/failed calling webhook/)
        // What it was deciding, and what was still sent to where it had been.
        expect(wrong).to.have.length.of.at.most(LOADERS + service.refused() - before)
        expect(made).to.be.at.least(80)
      }
    } finally {
      await service.close()
      await Promise.all(replicas.map(async each => await each.kill()))
    }
  })

  it('refuses no pod while its certificate and its authority are replaced under load', async () => {
    await createNamespace(server.client, 'rotation', strict)
    const [old, next] = [createAuthority(), createAuthority()]
    const webhook = await startWebhookFor(server.cluster, { authority: old, certificateEveryMs: 50 })
    try {
      await webhook.synced
      await installWebhooks(server.client, { port: webhook.port, authority: old })
      await addPolicy('rotation')
      await until(async () => await comesOutRecorded('rotation'))
      const { wrong } = await underLoad('rotation', async () => {
        await installWebhooks(server.client, { port: webhook.port, authority: { ...old, cert: `${old.cert}${next.cert}` } })
        // Half of a pair on disk must not be taken.
        await webhook.replaceCertificate({ cert: next.issue(['127.0.0.1']).cert, key: 'not yet' })
        await until(async () => webhook.log().includes('the last good one stays'))
        // The API server takes up another bundle within a moment, not at once.
        for (let made = 0; made < 50; made++) await create('rotation')
        await webhook.replaceCertificate(next.issue(['127.0.0.1']))
        await until(async () => webhook.log().includes('another certificate is in use'))
        await installWebhooks(server.client, { port: webhook.port, authority: next })
      })
      expect(wrong).to.deep.equal([])
    } finally {
      await webhook.stop()
    }
  })

  it('refuses no pod while three replicas replace their own certificates and authority, and the one that issues ends midway', async () => {
    await createNamespace(server.client, 'own', strict)
    const cluster = await asInjector(server)
    const own = { namespace: 'steno-system', names: ['127.0.0.1'], times: { authorityMs: 36_000, leafMs: 10_000, overlapMs: 3000 }, everyMs: 700, leaseMs: 1500, renewMs: 1000, retryMs: 100 }
    const replicas = await Promise.all(['a', 'b', 'c'].map(async instance => await startWebhookFor(cluster, { certificate: { own }, instance, drainMs: 200 })))
    const service = await openLink(replicas.map(each => each.port))
    const running = new Set(replicas)
    const steps = (): string => replicas.map(each => each.log()).join('')
    const trusted = async (): Promise<string> => {
      const configuration = await server.client.request('/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/steno-injector')
      return Buffer.from(textAt(objectAt(objectsAt(configuration, 'webhooks')[0], 'clientConfig'), 'caBundle') ?? '', 'base64').toString()
    }
    try {
      await installWebhooks(server.client, { port: service.port })
      await addPolicy('own')
      await until(async () => await comesOutRecorded('own'))
      // An API server keeps its connections: others are opened all the time, to each replica, by what is trusted at that moment.
      let over = false
      const refused: string[] = []
      const handshakes = async (): Promise<void> => {
        while (!over) {
          const ca = await trusted()
          for (const { port } of running) {
            const socket = connect({ host: '127.0.0.1', port, ca, minVersion: 'TLSv1.3' })
            await once(socket, 'secureConnect').catch((error: unknown) => refused.push(String(error)))
            socket.destroy()
          }
        }
      }
      const [first] = await Promise.all([trusted(), until(async () => replicas.every(each => each.log().includes('another certificate is in use')))])
      const { wrong } = await underLoad('own', async () => {
        const connecting = handshakes()
        await until(async () => steps().includes('"step":"announce"'))
        const issuing = replicas.find(each => each.log().includes('"step":"announce"'))
        if (issuing === undefined) throw new Error('nobody issues')
        running.delete(issuing)
        service.to([...running].map(each => each.port))
        await issuing.stop()
        await until(async () => [...running].some(each => each.log().includes('"step":"promote"')))
        await until(async () => !(await trusted()).includes(first))
        over = true
        await connecting
      })
      expect(wrong).to.deep.equal([])
      expect(refused).to.deep.equal([])
      expect(steps()).to.include('"step":"renew"')
    } finally {
      await service.close()
      await Promise.all(replicas.map(async each => await each.stop()))
    }
  })

  it('answers from memory while the API server is out of reach, then catches up with what changed, deletions too, and says how long it was blind', async () => {
    await createNamespace(server.client, 'blind-a')
    await createNamespace(server.client, 'blind-b')
    await addPolicy('blind-a')
    const link = await openLink([server.port])
    const webhook = await startWebhookFor({ ...server.cluster, server: new URL(`https://127.0.0.1:${link.port}`) }, { reflector: { quietMs: 1500, maxWaitMs: 300 } })
    try {
      await webhook.synced
      await installWebhooks(server.client, webhook)
      await until(async () => (await comesOutRecorded('blind-a')) && !(await comesOutRecorded('blind-b')))

      link.silence()
      await until(async () => /steno_cache_blind_seconds\{objects="policies"\} [1-9]/.test(await webhook.metrics()))
      expect(await webhook.ready()).to.equal(200)
      expect(await comesOutRecorded('blind-a')).to.equal(true)

      // The watch cannot go on from where it was: the API server that starts again does not know that far back.
      await server.client.request(`${policies('blind-a')}/tools`, { method: 'DELETE' })
      await addPolicy('blind-b')
      await server.restart()
      await until(served)
      link.restore()
      await until(async () => !(await comesOutRecorded('blind-a')) && (await comesOutRecorded('blind-b')))
      expect(webhook.log()).to.match(/"the copy is current again","path":"\/apis\/steno.dev[^}]*"blindMs":\d{4,}/)
    } finally {
      await webhook.stop()
      await link.close()
    }
  })

  it('goes on when the API server ends each watch, again and again', async () => {
    await createNamespace(server.client, 'again')
    const webhook = await startWebhookFor(server.cluster, { reflector: { maxWaitMs: 200 } })
    try {
      await webhook.synced
      await installWebhooks(server.client, webhook)
      for (const name of ['one', 'two']) {
        await server.restart()
        await until(served)
        await addPolicy('again', name)
        await until(async () => await comesOutRecorded('again'))
        await server.client.request(`${policies('again')}/${name}`, { method: 'DELETE' })
        await until(async () => !(await comesOutRecorded('again')))
      }
    } finally {
      await webhook.stop()
    }
  })

  it('outlasts a storm of expired watches: knows each change from the lists, which come later and later, and says how long it was blind', async () => {
    await createNamespace(server.client, 'storm')
    const real = createKubeClient(server.cluster)
    let storm = false
    let refused = 0
    const expired = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' }
    const client: KubeClient = {
      ...real,
      watch: async function* (path, options) {
        if (!storm || !path.includes('sessionpolicies')) {
          yield* real.watch(path, options)
          return
        }
        // As the API server does it: by the answer's status, or by an event of a watch that has begun.
        if (++refused % 2 === 0) throw new KubeError(410, expired.reason, expired.message)
        options.onOpen?.()
        yield { type: 'ERROR', object: expired }
      },
    }
    const webhook = await startWebhookFor(server.cluster, { client, random: () => 1, reflector: { quietMs: 1000 } })
    try {
      await webhook.synced
      await installWebhooks(server.client, webhook)
      storm = true
      // The watch that runs comes to its end.
      await until(async () => refused > 0)
      await addPolicy('storm')
      await until(async () => await comesOutRecorded('storm'))
      const waits = (): number[] => [...webhook.log().matchAll(/"path":"\/apis\/steno\.dev[^}]*"retryMs":(\d+)/g)].map(([, ms]) => Number(ms))
      await until(async () => waits().includes(3200))
      expect(waits()).to.include.ordered.members([800, 1600, 3200])
      expect(await webhook.metrics()).to.match(/steno_cache_blind_seconds\{objects="policies"\} (?!0\n)/)
      expect(await webhook.ready()).to.equal(200)
      storm = false
      await until(async () => webhook.log().includes('"the copy is current again","path":"/apis/steno.dev'))
      await until(async () => /steno_cache_blind_seconds\{objects="policies"\} 0\n/.test(await webhook.metrics()))
      await server.client.request(`${policies('storm')}/tools`, { method: 'DELETE' })
      await until(async () => !(await comesOutRecorded('storm')))
    } finally {
      await webhook.stop()
      await real.close()
    }
  })

  it('ends with the same pod whether another injector comes before or after', async () => {
    await createNamespace(server.client, 'foreign')
    await addPolicy('foreign')
    const authority = createAuthority()
    const webhook = await startWebhookFor(server.cluster, { authority })
    const foreign = await foreignInjector(authority)
    try {
      await webhook.synced
      await installWebhooks(server.client, webhook)
      const outcomes: JsonObject[] = []
      for (const name of ['a-before', 'z-after']) {
        const configuration = { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration', metadata: { name }, webhooks: [foreign.webhook] }
        await putConfiguration(server.client, 'mutatingwebhookconfigurations', configuration)
        let made: JsonObject = {}
        await until(async () => {
          made = await create('foreign')
          return isRecorded(made) && objectsAt(made['spec'], 'containers').some(each => each['name'] === 'mesh')
        })
        outcomes.push(made)
        await server.client.request(`/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`, { method: 'DELETE' })
        await until(async () => !objectsAt((await create('foreign'))['spec'], 'containers').some(each => each['name'] === 'mesh'))
      }
      const shape = (made: JsonObject): Json => ({
        containers: objectsAt(made['spec'], 'containers').map(each => ({ name: each['name'] ?? '', ports: objectsAt(each, 'ports').map(port => `${String(port['name'])} ${String(port['containerPort'])}`), env: objectsAt(each, 'env').map(entry => textAt(entry, 'name') ?? '') })).toSorted(byName),
        recorder: objectsAt(made['spec'], 'initContainers').map(each => ({ name: each['name'] ?? '', env: objectsAt(each, 'env').map(entry => textAt(entry, 'name') ?? '').toSorted() })),
        injected: textsAt(made['metadata'], 'annotations')['steno.dev/injected'] ?? '',
      })
      expect(outcomes.map(shape)[1]).to.deep.equal(shape(outcomes[0] ?? {}))
      expect(objectsAt(objectAt(outcomes[0], 'spec'), 'containers').map(each => objectsAt(each, 'ports').map(port => port['name']))).to.deep.include(['mcp-app'])
    } finally {
      await foreign.close()
      await webhook.stop()
    }
  })

  it('refuses a pod whose recorder another webhook has taken out, starved, replaced or bent', async () => {
    await createNamespace(server.client, 'bent', strict)
    await addPolicy('bent')
    const authority = createAuthority()
    const webhook = await startWebhookFor(server.cluster, { authority })
    const deeds: readonly (readonly [op: (recorder: string) => JsonObject, says: RegExp])[] = [
      [recorder => ({ op: 'replace', path: `${recorder}/args`, value: ['--version'] }), /Another webhook changed the recorder after it was put in, at \/spec\/initContainers\/0\/args/],
      [recorder => ({ op: 'replace', path: `${recorder}/resources`, value: { requests: { memory: '8Mi' }, limits: { memory: '8Mi' } } }), /changed the recorder after it was put in, at \/spec\/initContainers\/0\/resources/],
      [recorder => ({ op: 'replace', path: `${recorder}/image`, value: 'example/nothing:1' }), /changed the recorder after it was put in, at \/spec\/initContainers\/0\/image/],
      [recorder => ({ op: 'add', path: `${recorder}/env/-`, value: { name: 'NODE_OPTIONS', value: '--require=/tmp/x.js' } }), /changed the recorder after it was put in, at \/spec\/initContainers\/0\/env/],
      [recorder => ({ op: 'remove', path: recorder }), /Another webhook changed the recorder|The pod has no recorder/],
      [() => ({ op: 'remove', path: '/metadata/annotations/steno.dev~1injected' }), /demands recording/],
    ]
    let deed = deeds[0]
    const vandal = await foreignInjector(authority, made => {
      const at = objectsAt(made['spec'], 'initContainers').findIndex(each => each['name'] === 'steno-recorder')
      return at < 0 || deed === undefined ? [] : [deed[0](`/spec/initContainers/${at}`)]
    })
    try {
      await webhook.synced
      await installWebhooks(server.client, webhook)
      await until(async () => await comesOutRecorded('bent'))
      await putConfiguration(server.client, 'mutatingwebhookconfigurations', { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration', metadata: { name: 'z-vandal' }, webhooks: [{ ...vandal.webhook, reinvocationPolicy: 'IfNeeded' }] })
      await until(async () => !(await comesOutRecorded('bent')))
      for (deed of deeds) {
        const refusal = await create('bent').catch((error: unknown) => error)
        expect(refusal).to.be.instanceOf(KubeError).with.property('message').that.matches(/demands recording\. /)
        expect(refusal).to.have.property('message').that.matches(deed[1])
      }
      await server.client.request('/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/z-vandal', { method: 'DELETE' })
    } finally {
      await vandal.close()
      await webhook.stop()
    }
  })

  interface Foreign {
    readonly webhook: JsonObject
    close(): Promise<void>
  }

  /** A small injector of someone else: a container at the end, a variable in the others. */
  async function foreignInjector(authority: ReturnType<typeof createAuthority>, patchOf: (made: JsonObject) => JsonObject[] = meshPatch): Promise<Foreign> {
    const foreign = createServer(authority.issue(['127.0.0.1']), (req, res) => {
      void bodyOf(req).then(body => {
        const review = JSON.parse(body.toString()) as JsonObject
        const patch = patchOf(objectAt(objectAt(review, 'request'), 'object'))
        const response = { uid: objectAt(review, 'request')['uid'], allowed: true, ...(patch.length === 0 ? {} : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }) }
        res.setHeader('content-type', 'application/json')
        res.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response }))
      })
    })
    foreign.listen(0, '127.0.0.1')
    await once(foreign, 'listening')
    const { port } = foreign.address() as AddressInfo
    return {
      webhook: { name: 'mesh.example.com', admissionReviewVersions: ['v1'], clientConfig: { url: `https://127.0.0.1:${port}/`, caBundle: Buffer.from(authority.cert).toString('base64') }, rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }], failurePolicy: 'Fail', sideEffects: 'None', reinvocationPolicy: 'Never' },
      close: async () => {
        foreign.closeAllConnections()
        foreign.close()
        await once(foreign, 'close')
      },
    }
  }

  function meshPatch(made: JsonObject): JsonObject[] {
    const containers = objectsAt(made['spec'], 'containers')
    if (containers.some(each => each['name'] === 'mesh')) return []
    const variable = { name: 'TEAM', value: 'a' }
    const variables = containers.map((_, index): JsonObject => ({ op: 'add', path: `/spec/containers/${index}/env`, value: [variable] }))
    return [...variables, { op: 'add', path: '/spec/containers/-', value: { name: 'mesh', image: 'mesh:1' } }]
  }
})

function byName(a: { readonly name: Json }, b: { readonly name: Json }): number {
  return String(a.name) < String(b.name) ? -1 : 1
}
