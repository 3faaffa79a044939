/** Many pods while the injector itself is rolled and killed; and what is left when it is uninstalled. */

import { expect } from 'chai'

import { objectAt, textAt } from '../../src/policy/json.ts'
import { callOnce } from './client.ts'
import { apply, get, helm, INSTALLATION, install, isReady, items, killContainer, kubectl, nameOf, namespace, needCluster, pods, policy, rolledOut, server, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

const REPLICAS = Number(process.env['STENO_TEST_PODS'] ?? 50)
const STEP = 5
const REPAIRED_WITHIN_MS = 180_000
/** Of a program that only waits: the recorders are what is tried. */
const LIGHT_IMAGE = process.env['STENO_LIGHT_IMAGE'] ?? 'localhost/pause:steno'

describe('a roll-out of many pods in a cluster', function () {
  this.timeout(300_000)
  let ns: Namespace
  beforeEach(async function () {
    needCluster(this)
    await install(['recorder.cpu=10m', 'operator.repair.enabled=true'])
    ns = await namespace('many')
  })
  afterEach(async () => await ns?.remove())

  for (const [how, spec] of [
    ['where what is not recorded is refused, and made again', { unrecorded: 'Refuse' }],
    ['where what came in unrecorded is repaired', { repair: 'Restart' }],
  ] as const) {
    it(`records all ${REPLICAS} while the replicas of the injector are rolled and one is killed, ${how}`, async () => {
      const light = { image: LIGHT_IMAGE, args: [], command: ['/pause'], readinessProbe: null }
      await apply(policy(ns.name, spec), ...server(ns.name, 'server', { replicas: 0, container: light }))
      if ('unrecorded' in spec) await until('the label', async () => (textAt(objectAt(objectAt(await get('namespace', ns.name), 'metadata'), 'labels'), 'steno.dev/strict') === 'true' ? true : undefined))
      // A few at a time, so that pods are made all the while.
      let ending: Promise<unknown> = Promise.resolve()
      for (let count = STEP; count <= REPLICAS; count += STEP) {
        await kubectl(['scale', 'deployment/server', '-n', ns.name, `--replicas=${count}`])
        await until(`${count} pods`, async () => ((await pods(ns.name)).length >= count ? true : undefined))
        if (count === STEP) await kubectl(['rollout', 'restart', 'deployment/steno-injector', '-n', INSTALLATION])
        if (count === 3 * STEP) {
          const [one] = (await pods(INSTALLATION, 'app.kubernetes.io/component=injector')).filter(isReady)
          if (one === undefined) throw new Error('no injector is ready')
          // It may be among those that are rolled.
          ending = killContainer(INSTALLATION, nameOf(one), 'injector').catch(() => undefined)
        }
      }
      await ending
      await rolledOut(INSTALLATION, 'steno-injector')
      const unrecorded = async (): Promise<readonly string[]> => (await pods(ns.name)).filter(each => textAt(objectAt(objectAt(each, 'metadata'), 'labels'), 'steno.dev/recorded') !== 'true').map(nameOf)
      if ('unrecorded' in spec) expect(await unrecorded()).to.deep.equal([])
      const status = await until('the status', async () => {
        const counts = objectAt((await get('sessionpolicy', 'tools', '-n', ns.name))['status'], 'pods')
        return counts['recorded'] === REPLICAS && counts['missing'] === 0 ? counts : undefined
      }, REPAIRED_WITHIN_MS)
      expect(status).to.include({ selected: REPLICAS })
      expect(await unrecorded()).to.deep.equal([])
      await kubectl(['rollout', 'status', 'deployment/server', '-n', ns.name, '--timeout=240s'])
      const refused = (await items('events', '-n', ns.name)).filter(each => each['reason'] === 'FailedCreate').length
      console.log(`      ${refused} times refused, and made again`)
    })
  }

  it('leaves nothing behind when it is uninstalled, and pods go on', async () => {
    await apply(policy(ns.name), ...server(ns.name))
    await rolledOut(ns.name)
    const url = await urlOf(ns.name)
    const before = (await pods(ns.name)).map(nameOf)
    await helm('uninstall', 'steno', '--namespace', INSTALLATION, '--wait', '--timeout', '120s')
    const left: string[] = []
    for (const kind of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations', 'clusterroles', 'clusterrolebindings']) left.push(...(await items(kind)).map(each => `${kind}/${nameOf(each)}`).filter(name => name.includes('steno')))
    expect(left).to.deep.equal([])
    for (const kind of ['deployments', 'secrets', 'configmaps', 'roles', 'rolebindings', 'serviceaccounts', 'services', 'networkpolicies', 'poddisruptionbudgets']) left.push(...(await items(kind, '-n', INSTALLATION)).map(each => `${kind}/${nameOf(each)}`).filter(name => name.includes('/steno')))
    expect(left).to.deep.equal([])
    const kept = await get('sessionpolicy', 'tools', '-n', ns.name)
    expect(objectAt(kept, 'metadata')).to.not.have.property('finalizers')
    expect((await pods(ns.name)).map(nameOf)).to.deep.equal(before)
    expect(await callOnce(url, 'answer', { id: 'after' })).to.equal('answer-after')
    // What is made now is not recorded, and not refused either.
    await kubectl(['rollout', 'restart', 'deployment/server', '-n', ns.name])
    await rolledOut(ns.name)
    // The pod before may be asked for a moment more.
    await until('an answer of the pod that is made now', async () => ((await callOnce(url, 'answer', { id: 'plain' })) === 'answer-plain' ? true : undefined))
    // Policies and what they yielded go with them.
    await kubectl(['delete', 'sessionpolicy', 'tools', '-n', ns.name])
    await until('the end of what the policy yielded', async () => {
      const yielded = await Promise.all(['configmaps', 'roles', 'rolebindings', 'networkpolicies'].map(async kind => await items(kind, '-n', ns.name, '-l', 'app.kubernetes.io/managed-by=steno')))
      return yielded.flat().length === 0 ? true : undefined
    })
  })
})
