/** How a pod finds the API server, where Services have IPv6 addresses. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

import { expect } from 'chai'

import { kubeAssets, startApiServer } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'

/** As in a container of a pod: the service account's files are where the kubelet mounts them. */
const SCRIPT = `
set -e
mount -t tmpfs none /run
account=/run/secrets/kubernetes.io/serviceaccount
mkdir -p $account
printf %s "$CA" >$account/ca.crt
printf %s "$TOKEN" >$account/token
exec "$NODE" "$MAIN" doctor --output json --timeout 20s
`

describe('a pod whose cluster has IPv6', function () {
  this.timeout(120_000)
  let server: ApiServer

  before(async function () {
    // A machine that lets nobody mount, or has no ::1, cannot prove it, whatever is installed.
    if (spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/run']).status !== 0 || spawnSync('ip', ['-6', 'route', 'get', '::1']).status !== 0) return this.skip()
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets, { host: '::1' })
  })
  after(async () => await server?.stop())

  it('reaches the API server at the address that KUBERNETES_SERVICE_HOST says', async () => {
    const { ca = '' } = server.cluster
    const program = spawn('unshare', ['-m', 'bash', '-c', SCRIPT], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], NODE: process.execPath, MAIN: new URL('../../src/main.ts', import.meta.url).pathname, CA: ca, TOKEN: await server.cluster.token(), KUBERNETES_SERVICE_HOST: '::1', KUBERNETES_SERVICE_PORT: String(server.port) },
    })
    const [out, err] = await Promise.all([text(program.stdout), text(program.stderr), once(program, 'exit')])
    expect(out, err).to.match(/"id":\s*"cluster\.reached",[^{}]*"ok"/)
  })
})
