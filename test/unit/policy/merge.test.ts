import { expect } from 'chai'

import { mergePolicies } from '../../../src/policy/merge.ts'
import { selecting, selects } from '../../../src/policy/select.ts'
import type { JsonObject } from '../../../src/policy/json.ts'
import { policyOf } from '../../support/golden-pods.ts'

function policy(name: string, spec: JsonObject): ReturnType<typeof policyOf> {
  return policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name, uid: `uid-${name}`, generation: 3 }, spec: { selector: {}, ...spec } })
}

describe('mergePolicies()', () => {
  it('takes the strictest value of each field, and says where they differ', () => {
    const merged = mergePolicies([policy('a', { capture: 'Redirect', onFailure: 'Allow', ports: [{ port: 'mcp' }] }), policy('b', { durability: 'OffPod', optOut: 'Allow', ports: [{ port: 'mcp' }, { port: 80 }] })])
    expect(merged).to.deep.include({ names: ['a', 'b'], capture: 'Redirect', durability: 'OffPod', onFailure: 'Block', optOut: 'Refuse', ports: ['mcp', 80], conflicts: ['capture', 'durability', 'onFailure', 'optOut'] })
  })

  it('takes the first sink by name, and says so', () => {
    const sink = (stream: string): JsonObject => ({ sink: { firehose: { stream, region: 'eu-west-1' } } })
    expect(mergePolicies([policy('a', {}), policy('b', sink('x')), policy('c', sink('y'))])).to.deep.include({ sink: { stream: 'x', region: 'eu-west-1' }, conflicts: ['sink'] })
    expect(mergePolicies([policy('a', sink('x')), policy('b', sink('x'))])).to.deep.include({ conflicts: [] })
  })
})

describe('selects()', () => {
  const selector = (spec: JsonObject): Parameters<typeof selects>[0] => policy('a', { selector: spec }).spec.selector

  it('holds when all labels and expressions do', () => {
    const both = selector({ matchLabels: { app: 'a' }, matchExpressions: [{ key: 'tier', operator: 'In', values: ['x', 'y'] }] })
    expect(selects(both, { app: 'a', tier: 'y' })).to.equal(true)
    expect(selects(both, { app: 'a' })).to.equal(false)
    expect(selects(both, { app: 'b', tier: 'y' })).to.equal(false)
  })

  it('takes an absent label as not in, and does not find what every object has', () => {
    expect(selects(selector({ matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['x'] }] }), {})).to.equal(true)
    expect(selects(selector({ matchExpressions: [{ key: 'toString', operator: 'Exists' }] }), {})).to.equal(false)
  })

  it('selecting() gives policies in the order of their names', () => {
    expect(selecting([policy('b', {}), policy('a', {}), policy('c', { selector: { matchLabels: { no: 'x' } } })], {}).map(({ name }) => name)).to.deep.equal(['a', 'b'])
  })
})
