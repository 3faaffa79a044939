import { expect } from 'chai'

import { decide } from '../../src/inject/decide.ts'
import { objectAt, objectsAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { digest, policyOf, settings } from '../support/golden-pods.ts'

const policies = [policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools', uid: 'u', generation: 1 }, spec: { selector: {}, capture: 'Redirect' } })]
const decided = (pod: JsonObject): JsonObject => decide({ pod, namespace: { name: 'team-a', labels: {}, annotations: {} }, policies, settings: settings(), oldestNodeMinor: 34, digest }).pod
const recorded = decided({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { containers: [{ name: 'server', image: 'x', ports: [{ name: 'mcp', containerPort: 8080 }] }], volumes: [{ name: 'mine', emptyDir: {} }] } })

/** The pod, with something more in each of our containers. */
function withMore(list: 'volumeMounts' | 'env', entry: JsonObject): JsonObject {
  const spec = objectAt(recorded, 'spec')
  return { ...recorded, spec: { ...spec, initContainers: objectsAt(spec, 'initContainers').map(each => ({ ...each, [list]: [...objectsAt(each, list), entry] })) } }
}

describe('what others add to our containers', () => {
  for (const mountPath of ['/', '/opt', '/opt/steno/dist', '/usr/bin/', '//usr/./sbin', '/lib64', 'etc', '/etc/ld.so.preload', '/dev/shm', '/var', '/var/lib/steno/spool', '/var/run/steno/policies/tools', '/srv/../usr']) {
    it(`a mount at ${mountPath} of the recorder goes: it would hide the program or what it goes by`, () => {
      const left = objectsAt(objectAt(decided(withMore('volumeMounts', { name: 'mine', mountPath })), 'spec'), 'initContainers').filter(each => each['name'] === 'steno-recorder').flatMap(each => objectsAt(each, 'volumeMounts')).filter(each => each['name'] === 'mine')
      expect(left).to.deep.equal([])
    })
  }

  for (const mountPath of ['/var/run/secrets/eks.amazonaws.com/serviceaccount', '/vault/secrets', '/opt/dynatrace', '/users']) {
    it(`a mount at ${mountPath} stays`, () => {
      const more = withMore('volumeMounts', { name: 'mine', mountPath })
      expect(objectsAt(objectAt(decided(more), 'spec'), 'initContainers').map(each => objectsAt(each, 'volumeMounts').some(mount => mount['mountPath'] === mountPath))).to.deep.equal([true, true])
    })
  }

  for (const name of ['PATH', 'GCONV_PATH', 'LD_PRELOAD', 'NODE_OPTIONS', 'STENO_POLICIES']) {
    it(`${name} is ours alone, since it says what runs or what it goes by`, () => {
      const more = withMore('env', { name, value: '/mine' })
      const left = objectsAt(objectAt(decided(more), 'spec'), 'initContainers').flatMap(each => objectsAt(each, 'env')).filter(each => each['value'] === '/mine')
      expect(left).to.deep.equal([])
    })
  }
})
