import { expect } from 'chai'

import { compilePolicy, readCompiled } from '../../../src/policy/compile.ts'
import { changeOf, inForce } from '../../../src/policy/in-force.ts'
import { digest, policyOf } from '../../support/golden-pods.ts'

const sink = { firehose: { stream: 's', region: 'eu-west-1' } }
const policy = (name: string, spec: object): ReturnType<typeof policyOf> => policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name, uid: 'u' }, spec: { selector: {}, ...spec } })

describe('readCompiled()', () => {
  it('reads what compilePolicy() writes, under the same hash', () => {
    for (const spec of [{}, { onFailure: 'Allow' }, { durability: 'OffPod', sink }]) {
      const { text, hash } = compilePolicy(policy('tools', spec), digest)
      const { durability, onFailure, sink: place } = policy('tools', spec).spec
      expect(readCompiled(text, digest)).to.deep.equal({ policy: { name: 'tools', hash, spec: { durability, onFailure, ...(place === undefined ? {} : { sink: place }) } } })
    }
  })
})

describe('inForce()', () => {
  const read = (name: string, spec: object): Parameters<typeof inForce>[0][number] => {
    const found = readCompiled(compilePolicy(policy(name, spec), digest).text, digest)
    if ('problem' in found) throw new Error(found.problem)
    return found.policy
  }

  it('is the strictest of all, under a hash that changes with each of them', () => {
    const [a, b] = [read('a', { onFailure: 'Allow', sink }), read('b', { durability: 'OffPod' })]
    const both = inForce([a, b], digest)
    expect(both).to.deep.include({ name: 'a,b', spec: { durability: 'OffPod', onFailure: 'Block', sink: { stream: 's', region: 'eu-west-1' } } })
    expect(inForce([a], digest)).to.deep.include({ name: 'a', hash: a.hash })
    expect(inForce([a, read('b', {})], digest).hash).to.not.equal(both.hash)
  })

  it('changeOf() tells what holds at once from what takes a new pod', () => {
    const made = read('a', {}).spec
    const after = read('a', { durability: 'OffPod', sink }).spec
    expect(changeOf(made, read('a', { onFailure: 'Allow' }).spec, made)).to.deep.equal({ changed: ['onFailure'], pending: [] })
    expect(changeOf(made, after, made)).to.deep.equal({ changed: [], pending: ['durability', 'sink'] })
    expect(changeOf(after, made, made)).to.deep.equal({ changed: [], pending: [] })
  })
})
