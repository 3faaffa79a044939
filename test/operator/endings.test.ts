/** How an operator ends, and what the next one finds: told to, or having lost the lease. Killed in the middle of its work: schedules.test.ts. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { objectAt, textAt } from '../../src/policy/json.ts'
import { steno } from '../support/cli.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { policiesOf } from '../support/operator.ts'
import type { Policies } from '../support/operator.ts'

const LEASE = '/apis/coordination.k8s.io/v1/namespaces/steno-system/leases/steno-operator'

describe('the end of an operator, on a real API server', function () {
  this.timeout(180_000)
  let server: ApiServer
  let policies: Policies
  let folder: string

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNode(server.client, 'node-a', 'v1.34.4')
    await createNamespace(server.client, 'steno-system')
    policies = policiesOf(server.client)
    folder = await mkdtemp(join(tmpdir(), 'operate-'))
    await writeFile(join(folder, 'config.yaml'), 'image: registry.example/steno@sha256:5e\nsink: {claim: archive}\n')
  })
  after(async () => {
    await server?.stop()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  const operate = (signal: AbortSignal, onTalk: (err: string) => void): ReturnType<typeof steno> => steno(['operate', '--config', join(folder, 'config.yaml'), '--kubeconfig', server.kubeconfig, '--admin', '127.0.0.1:0', '--drain', '1s'], { signal, onTalk })
  const holder = async (): Promise<string | undefined> => textAt(objectAt(await server.client.request(LEASE), 'spec'), 'holderIdentity')

  it('steno operate says what it needs', async () => {
    const { code, err } = await steno(['operate'])
    expect({ code, err }).to.deep.equal({ code: 2, err: 'error: --config is needed: the file that the injector has (usage.invalid)\n' })
  })

  it('steno operate ends with 0 when told to, and gives the lease back', async () => {
    const stopping = new AbortController()
    const leading = Promise.withResolvers<void>()
    const run = operate(stopping.signal, err => err.includes('"msg":"leading"') && leading.resolve())
    await leading.promise
    await createNamespace(server.client, 'told')
    await policies.put('told', 'tools', { selector: {} })
    await policies.says('told', 'tools', 'Ready', 'Ready')
    stopping.abort()
    expect((await run).code).to.equal(0)
    expect(await holder()).to.equal('')
  })

  it('steno operate ends with 1 when another has taken the lease', async () => {
    const leading = Promise.withResolvers<void>()
    const run = operate(new AbortController().signal, err => err.includes('"msg":"leading"') && leading.resolve())
    await leading.promise
    await server.client.request(LEASE, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { spec: { holderIdentity: 'thief' } } })
    const { code, err } = await run
    expect(code).to.equal(1)
    expect(err).to.include('"msg":"no longer leading; ending"').and.to.include('another holds the lease: thief')
    await server.client.request(LEASE, { method: 'DELETE' })
  })
})
