/** Who reaches what: past the recorder, into the pod, into AWS. */

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { expect } from 'chai'

import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import { clusterAws } from './aws.ts'
import type { ClusterAws } from './aws.ts'
import { callOnce } from './client.ts'
import { apply, forwardTo, get, install, isReady, items, kubectl, nameOf, namespace, needCluster, pods, policy, rolledOut, server, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

const run = promisify(execFile)

describe('who reaches what in a cluster', function () {
  this.timeout(180_000)
  let aws: ClusterAws
  let ns: Namespace
  let pod: string
  let address: string
  let folder: string

  before(async function () {
    needCluster(this)
    folder = await mkdtemp(join(tmpdir(), 'access-'))
    aws = await clusterAws(this)
    this.timeout(300_000)
    await install(aws.values)
    ns = await namespace('access')
    await apply(policy(ns.name, { access: { connect: [{ group: 'developers' }] } }), ...server(ns.name))
    // Beside it, what nobody records.
    await apply(...server(ns.name, 'other', { labels: { 'app.kubernetes.io/component': 'other' } }))
    await rolledOut(ns.name)
    await rolledOut(ns.name, 'other')
    const [only] = (await pods(ns.name)).filter(isReady)
    pod = only === undefined ? '' : nameOf(only)
    address = textAt(only?.['status'], 'podIP') ?? ''
  })
  after(async () => {
    await ns?.remove()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  /** What a program in another pod of the namespace meets there. */
  const fromAnotherPod = async (port: number): Promise<string> => {
    const [one] = await pods(ns.name, 'app=other')
    return (await kubectl(['exec', one === undefined ? '' : nameOf(one), '-n', ns.name, '--', '/usr/bin/node', '/program.mjs', 'connect', address, String(port)])).trim()
  }

  it('refuses the direct port to other pods, and lets them reach the recorder', async () => {
    await until('the closed port', async () => ((await fromAnotherPod(8080)) === 'open' ? undefined : true))
    expect(await fromAnotherPod(8080)).to.be.oneOf(['ECONNREFUSED', 'ETIMEDOUT'])
    expect(await fromAnotherPod(15080)).to.equal('open')
    expect(await callOnce(await urlOf(ns.name), 'answer', { id: 'closed' })).to.equal('answer-closed')
  })

  it('writes down who runs a program in a recorded pod', async () => {
    await kubectl(['exec', pod, '-n', ns.name, '-c', 'server', '--', '/usr/bin/node', '--version'])
    const frame = await until('the access frame', async () => (await aws.frames()).find(each => each.kind === 'access' && JSON.stringify(each).includes(pod)))
    expect(JSON.stringify(frame)).to.include('exec').and.to.include('admin')
    const told = (await items('events', '-n', ns.name)).filter(each => each['reason'] === 'ReachedPastRecorder')
    expect(told).to.not.be.empty
  })

  it('refuses it where a policy says so', async () => {
    const strict = await namespace('refuse')
    try {
      await apply(policy(strict.name, { access: { others: 'Refuse' } }), ...server(strict.name))
      await rolledOut(strict.name)
      const [one] = await pods(strict.name)
      const error: unknown = await kubectl(['exec', one === undefined ? '' : nameOf(one), '-n', strict.name, '-c', 'server', '--', '/usr/bin/node', '--version']).catch((refused: unknown) => refused)
      expect(String(error)).to.match(/denied the request.*steno/s)
    } finally {
      await strict.remove()
    }
  })

  it('gives the token for AWS to the recorder, and nothing of it to the server', async () => {
    const script = `const fs = require('node:fs'); const found = []; const look = folder => { for (const each of fs.readdirSync(folder, { withFileTypes: true }).filter(({ name }) => !name.startsWith('..'))) { const path = folder + '/' + each.name; if (each.isDirectory()) look(path); else if (each.name === 'token') found.push(path) } }; look('/var/run/secrets'); console.log(JSON.stringify({ found, token: found.filter(path => path.includes('aws')).map(path => fs.readFileSync(path, 'utf8'))[0] }))`
    const seen = async (container: string): Promise<{ readonly found: readonly string[]; readonly token?: string }> => JSON.parse(await kubectl(['exec', pod, '-n', ns.name, '-c', container, '--', '/usr/bin/node', '-e', script])) as { found: string[]; token?: string }
    const { token = '' } = await seen('steno-recorder')
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { readonly aud: readonly string[]; readonly sub: string }
    expect(claims).to.deep.include({ aud: ['sts.amazonaws.com'], sub: `system:serviceaccount:${ns.name}:default` })
    // Its own of the API server, as without Steno.
    expect((await seen('server')).found).to.deep.equal(['/var/run/secrets/kubernetes.io/serviceaccount/token'])
    const environment = await callOnce(await urlOf(ns.name), 'environment')
    expect(environment).to.include('KUBERNETES_SERVICE_HOST').and.to.not.include('AWS_')
  })

  it('lets a group of engineers reach the recorded pod, and nothing else of the namespace', async () => {
    const kubeconfig = await engineer('ada', 'developers')
    const as = async (...args: string[]): Promise<string> => await kubectl(['--kubeconfig', kubeconfig, '-n', ns.name, ...args])
    await until('the right to connect', async () => ((await as('get', 'pod', pod, '-o', 'name')) === '' ? undefined : true))
    expect(await as('get', 'pod', pod, '-o', 'name')).to.equal(`pod/${pod}\n`)
    for (const refused of [['get', 'pods'], ['get', 'secrets'], ['get', 'configmaps'], ['exec', pod, '-c', 'server', '--', '/usr/bin/node', '--version'], ['delete', 'pod', pod], ['get', 'sessionpolicies']]) {
      const error: unknown = await as(...refused).catch((failed: unknown) => failed)
      expect(String(error), refused.join(' ')).to.match(/forbidden/i)
    }
    const [other] = await pods(ns.name, 'app=other')
    await expectRefused(kubeconfig, other === undefined ? '' : nameOf(other))
    const forward = await forwardTo(pod, 15_080, ['--kubeconfig', kubeconfig, '-n', ns.name])
    try {
      expect(await callOnce(`http://127.0.0.1:${forward.port}/mcp`, 'answer', { id: 'forwarded' })).to.equal('answer-forwarded')
    } finally {
      await forward.close()
    }
  })

  const expectRefused = async (kubeconfig: string, name: string): Promise<void> => {
    const error: unknown = await kubectl(['--kubeconfig', kubeconfig, '-n', ns.name, 'port-forward', `pod/${name}`, ':8080']).catch((failed: unknown) => failed)
    expect(String(error)).to.match(/forbidden/i)
  }

  /** A client certificate that the cluster itself has signed. @returns a kubeconfig with it */
  const engineer = async (user: string, group: string): Promise<string> => {
    const [key, request] = [join(folder, `${user}.key`), join(folder, `${user}.csr`)]
    await run('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', request, '-subj', `/O=${group}/CN=${user}`])
    const name = `${ns.name}-${user}`
    await apply({ apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', metadata: { name }, spec: { signerName: 'kubernetes.io/kube-apiserver-client', usages: ['client auth'], request: (await readFile(request)).toString('base64') } })
    await kubectl(['certificate', 'approve', name])
    const certificate = await until('the certificate', async () => textAt((await get('csr', name))['status'], 'certificate'))
    await kubectl(['delete', 'csr', name])
    const mine = JSON.parse(await kubectl(['config', 'view', '--raw', '--minify', '-o', 'json'])) as { clusters: unknown[] }
    const kubeconfig = join(folder, `${user}.json`)
    const [cluster] = objectsAt(JSON.parse(JSON.stringify(mine)), 'clusters')
    await writeFile(kubeconfig, JSON.stringify({ apiVersion: 'v1', kind: 'Config', 'current-context': 'c', contexts: [{ name: 'c', context: { cluster: 'c', user } }], clusters: [{ name: 'c', cluster: objectAt(cluster ?? {}, 'cluster') }], users: [{ name: user, user: { 'client-certificate-data': certificate, 'client-key-data': (await readFile(key)).toString('base64') } }] }))
    return kubeconfig
  }
})
