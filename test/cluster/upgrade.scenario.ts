/** The installation is brought to another chart, and back, while pods run and are called. */

import { expect } from 'chai'

import { objectAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { CHART } from '../support/helm.ts'
import { steadyClient } from './client.ts'
import { apply, get, helm, INSTALLATION, install, kubectl, nameOf, namespace, needCluster, pods, policy, rolledOut, server, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

/** A folder with the chart of an earlier version, and the tag of its image. Without them, the chart of today with other values stands for it. */
const { STENO_PREVIOUS_CHART: BEFORE = CHART, STENO_PREVIOUS_TAG: TAG } = process.env

describe('an upgrade in a cluster', function () {
  this.timeout(300_000)
  let ns: Namespace
  before(async function () {
    needCluster(this)
    await install(['recorder.cpu=20m', ...(TAG === undefined ? [] : [`image.tag=${TAG}`])], BEFORE)
    ns = await namespace('upgrade')
    await apply(policy(ns.name), ...server(ns.name))
    await rolledOut(ns.name)
  })
  after(async () => await ns?.remove())

  const counts = async (wanted: JsonObject): Promise<void> => {
    await until(`the counts ${JSON.stringify(wanted)}`, async () => {
      const status = objectAt((await get('sessionpolicy', 'tools', '-n', ns.name))['status'], 'pods')
      if (!Object.entries(wanted).every(([name, count]) => status[name] === count)) throw new Error(JSON.stringify(status))
      return true
    })
  }
  const setUpOf = (pod: JsonObject | undefined): string | undefined => textAt(objectAt(objectAt(pod ?? {}, 'metadata'), 'annotations'), 'steno.dev/injected')

  it('touches no pod and fails no call, says which pods are outdated, and goes back', async () => {
    const [before] = await pods(ns.name)
    await counts({ recorded: 1, outdated: 0 })
    const client = steadyClient(await urlOf(ns.name), 'upgrade')
    try {
      await until('answers', async () => (client.answered.length > 5 ? true : undefined))
      await install(['recorder.cpu=10m'])
      await counts({ recorded: 1, outdated: 1 })
      const [during] = await pods(ns.name)
      expect(nameOf(during ?? {})).to.equal(nameOf(before ?? {}))
      expect(setUpOf(during)).to.equal(setUpOf(before))
      const so = client.answered.length
      await until('more answers', async () => (client.answered.length > so + 5 ? true : undefined))
    } finally {
      await client.stop()
    }
    expect(client.failed).to.deep.equal([])

    await kubectl(['rollout', 'restart', 'deployment/server', '-n', ns.name])
    await rolledOut(ns.name)
    await counts({ selected: 1, recorded: 1, outdated: 0 })

    await helm('rollback', 'steno', '--namespace', INSTALLATION, '--wait', '--timeout', '180s')
    await counts({ selected: 1, recorded: 1, outdated: 1 })
  })
})
