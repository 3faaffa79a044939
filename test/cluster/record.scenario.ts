/** An admin installs the chart as it is, applies a policy, and an MCP server that knows nothing of Steno is recorded. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import { expect } from 'chai'

import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import { callOnce } from './client.ts'
import { apply, get, install, kubectl, nameOf, namespace, needCluster, pods, policy, rolledOut, server, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

describe('a server in a cluster without AWS', function () {
  this.timeout(180_000)
  let ns: Namespace
  before(async function () {
    needCluster(this)
    await install([])
    ns = await namespace('plain')
  })
  after(async () => await ns?.remove())

  it('is recorded once a policy selects it, by clients that go through its Service, and the recording is read in its pod', async function () {
    await apply(...server(ns.name))
    await rolledOut(ns.name)
    const url = await urlOf(ns.name)
    const service = await get('service', 'server', '-n', ns.name)
    expect(await callOnce(url, 'answer', { id: 'before' })).to.equal('answer-before')

    const began = performance.now()
    await apply(policy(ns.name))
    await kubectl(['rollout', 'restart', 'deployment/server', '-n', ns.name])
    await rolledOut(ns.name)
    const pod = await until('the recorded pod alone', async () => {
      const all = await pods(ns.name)
      return all.length === 1 && textAt(objectAt(objectAt(all[0], 'metadata'), 'labels'), 'steno.dev/recorded') === 'true' ? all[0] : undefined
    })
    expect(await callOnce(url, 'answer', { id: 'first' })).to.equal('answer-first')
    console.log(`      ${((performance.now() - began) / 1000).toFixed(1)} s from kubectl apply of the policy to the first recorded call, the restart of its Deployment included`)
    // What kubectl shows of a pod: its containers that are ready, of those that are to be.
    expect((await kubectl(['get', 'pod', nameOf(pod), '-n', ns.name, '--no-headers'])).split(/\s+/)[1]).to.equal('2/2')
    expect((await get('service', 'server', '-n', ns.name))['spec']).to.deep.equal(service['spec'])

    if (process.env['STENO_MCP_PYTHON'] !== undefined) {
      const python = await promisify(execFile)(process.env['STENO_MCP_PYTHON'], ['-c', PYTHON, url])
      expect(python.stdout.trim()).to.equal('answer-python')
    } else if (process.env['CI'] === 'true') throw new Error('set STENO_MCP_PYTHON to a Python that has mcp')

    const steno = async (...args: string[]): Promise<string> => await kubectl(['exec', nameOf(pod), '-n', ns.name, '-c', 'steno-recorder', '--', 'steno', ...args])
    const listed = await until('sessions in the archive', async () => {
      const all = JSON.parse(await steno('list', '-o', 'json')) as readonly { readonly id: string }[]
      return all.length === (process.env['STENO_MCP_PYTHON'] === undefined ? 1 : 2) ? all : undefined
    })
    const told = (await Promise.all(listed.map(async ({ id }) => await steno('export', id)))).join('')
    expect(told).to.include('answer-first')
    expect(told).to.not.include('answer-before')
    expect(await steno('verify')).to.match(/consistent/)

    const status = await until('the status', async () => {
      const { status: seen = {} } = await get('sessionpolicy', 'tools', '-n', ns.name)
      return objectAt(seen, 'pods')['recorded'] === 1 && objectsAt(seen, 'conditions').some(each => each['type'] === 'Ready' && each['status'] === 'True') ? seen : undefined
    })
    expect(objectAt(status, 'pods')).to.include({ selected: 1, recorded: 1 })
    expect(await kubectl(['get', 'sessionpolicies', '-n', ns.name])).to.match(/^NAME +READY +RECORDED +MISSING +OUTDATED +AGE\ntools +True +1 +0 +0 /)
  })
})

const PYTHON = `
import asyncio, sys
from mcp import Client
async def main(url):
    async with Client(url, mode="legacy") as client:
        result = await client.call_tool("answer", {"id": "python"})
        print(result.content[0].text)
asyncio.run(main(sys.argv[1]))
`
