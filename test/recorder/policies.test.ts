import { expect } from 'chai'

import { shortDigest } from '../../src/platform/digest.ts'
import { createLog } from '../../src/platform/log.ts'
import { compilePolicy, readCompiled } from '../../src/policy/compile.ts'
import type { RecorderPolicy } from '../../src/policy/compile.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { mountPolicies } from '../../src/recorder/mounted-policies.ts'
import { policyOf } from '../support/golden-pods.ts'
import { mountedFolder } from '../support/mounted-folder.ts'
import type { MountedFolder } from '../support/mounted-folder.ts'
import { bodyOf, call, httpUpstream, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'
import { faultyFs } from '../support/spool-faulty-fs.ts'

/** As the operator writes it. */
function compiled(name: string, spec: JsonObject = {}): string {
  return compilePolicy(policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { namespace: 'team-a', name, uid: `uid-${name}` }, spec: { selector: {}, ...spec } }), shortDigest).text
}

function read(text: string): RecorderPolicy {
  const found = readCompiled(text, shortDigest)
  if ('problem' in found) throw new Error(found.problem)
  return found.policy
}

describe('a recorder and the policies of its pod', () => {
  let upstream: Upstream
  let recorder: RecorderUnderTest
  let folder: MountedFolder
  let logged = ''
  beforeEach(async () => {
    logged = ''
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        const { id } = JSON.parse(body.toString()) as { id: number }
        res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(id))
      })
    })
  })
  afterEach(async () => {
    await recorder.dispose()
    await upstream.close()
  })

  const files = (...texts: readonly string[]): Record<string, string> => Object.fromEntries(texts.map(text => [`${read(text).name}/policy.json`, text]))
  const start = async (made: readonly string[], mounted: readonly string[], options: Parameters<typeof recorderBefore>[1] = {}): Promise<void> => {
    folder = await mountedFolder(files(...mounted))
    const log = createLog({ level: 'info', write: line => void (logged += line), now: Date.now })
    recorder = await recorderBefore(upstream.url, { ...options, log, policies: await mountPolicies({ folder: folder.path, made: made.map(read), digest: shortDigest, log, everyMs: 10 }) })
  }
  const admin = async (path: string): Promise<string> => await (await fetch(`${recorder.adminUrl}/${path}`)).text()
  const until = async (path: string, what: string | RegExp): Promise<string> => {
    for (;;) {
      const text = await admin(path)
      if (typeof what === 'string' ? text.includes(what) : what.test(text)) return text
    }
  }
  const send = async (id: number): Promise<boolean> => {
    const answer = (await (await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: call(id) })).json()) as { readonly error?: unknown }
    return answer.error === undefined
  }

  it('takes up what the operator writes, and says in the recording what changed', async () => {
    await start([compiled('tools')], [compiled('tools')])
    const allow = compiled('tools', { onFailure: 'Allow' })
    await folder.swap(files(allow))
    await until('metrics', `steno_policy_info{name="tools",hash="${read(allow).hash}"} 1`)
    const moved = compiled('tools', { onFailure: 'Allow', sink: { firehose: { stream: 'other', region: 'eu-west-1' } } })
    await folder.swap(files(moved))
    const metrics = await until('metrics', `steno_policy_info{name="tools",hash="${read(moved).hash}"} 1`)
    expect(metrics).to.include('steno_policy_files{state="current"} 1')
    expect(metrics).to.not.include(read(allow).hash)
    expect(await admin('readyz')).to.equal('ok\n')
    const recorded = await recorder.stop()
    expect(recorded.of('writer.start')[0]?.policy).to.deep.equal({ name: 'tools', hash: read(compiled('tools')).hash })
    const say = ({ name, hash, changed, pending }: (typeof frames)[number]): unknown => ({ name, hash, changed, pending })
    const frames = recorded.of('policy')
    expect(frames.map(say)).to.deep.equal([
      { name: 'tools', hash: read(allow).hash, changed: ['onFailure'], pending: undefined },
      { name: 'tools', hash: read(moved).hash, changed: [], pending: ['sink'] },
    ])
    expect(recorded.verdict).to.equal('consistent')
  })

  it('goes by what is mounted when it starts, even where the pod was made with something else', async () => {
    await start([compiled('tools')], [compiled('tools', { durability: 'OffPod' })])
    const [frame] = (await recorder.stop()).of('policy')
    expect(frame).to.deep.include({ hash: read(compiled('tools', { durability: 'OffPod' })).hash, changed: [], pending: ['durability'], exchange: 0 })
  })

  it('stays strict until the last of its policies allows more', async () => {
    const disk = faultyFs()
    const allow = { onFailure: 'Allow' }
    await start([compiled('a'), compiled('b')], [compiled('a'), compiled('b')], { spoolFs: disk.fs })
    await folder.swap(files(compiled('a', allow), compiled('b')))
    await until('metrics', 'steno_policy_info{name="a,b"')
    while (!logged.includes('another policy is in force')) await admin('livez')
    disk.failWrites(Infinity, 'EIO')
    disk.failCreates(Infinity, 'EIO')
    expect(await send(1)).to.equal(false)
    // What holds does not wait until it can be written down.
    await folder.swap(files(compiled('a', allow), compiled('b', allow)))
    await until('readyz', 'degraded: not recording')
    expect(await send(2)).to.equal(true)
    disk.heal()
    await until('readyz', /^ok/)
    const recorded = await recorder.stop()
    expect(recorded.of('policy').map(({ changed }) => changed)).to.deep.equal([[], ['onFailure']])
    expect(recorded.of('gap').map(({ reason }) => reason)).to.include.members(['blocked', 'unrecorded'])
  })

  const broken: readonly (readonly [string, Record<string, string>, RegExp])[] = [
    ['missing', {}, /there is no file/],
    ['cut', { 'tools/policy.json': compiled('tools').slice(0, 40) }, /it is not JSON/],
    ['empty', { 'tools/policy.json': '' }, /it is not JSON/],
    ['of a newer format', { 'tools/policy.json': compiled('tools').replace('"format":1', '"format":2') }, /its format is 2 and this version reads 1: restart the pod/],
    ['with a rule that nobody knows yet', { 'tools/policy.json': compiled('tools').replace('"format":1', '"format":1,"rules":[]') }, /rules: is not known/],
    ['with a value that nobody knows', { 'tools/policy.json': compiled('tools').replace('Block', 'Maybe') }, /onFailure: must be one of/],
    ['of another policy', { 'tools/policy.json': compiled('others') }, /it is policy "others"/],
    ['larger than a ConfigMap', { 'tools/policy.json': `${compiled('tools')}${' '.repeat(1024 * 1024)}` }, /bytes/],
  ]
  for (const [what, state, why] of broken) {
    it(`keeps the last good policy and says so when the file is ${what}`, async () => {
      const allow = compiled('tools', { onFailure: 'Allow' })
      await start([compiled('tools')], [allow])
      await folder.swap(state)
      const said = await until('readyz', 'degraded')
      expect(said).to.match(/^degraded: policy tools stays as it was last read: /).and.match(why)
      const metrics = await admin('metrics')
      expect(metrics).to.include(`steno_policy_info{name="tools",hash="${read(allow).hash}"} 1`)
      expect(metrics).to.include(`steno_policy_files{state="${what === 'missing' ? 'missing' : 'unreadable'}"} 1`)
      await folder.swap(files(compiled('tools')))
      await until('readyz', /^ok/)
      expect(logged.match(/the last good policy stays/g)).to.have.length(1)
      expect((await recorder.stop()).of('policy').map(({ changed }) => changed)).to.deep.equal([['onFailure'], ['onFailure']])
    })
  }
})
