import { expect } from 'chai'
import fc from 'fast-check'

import { decide } from '../../src/inject/decide.ts'
import type { DecisionInput } from '../../src/inject/decide.ts'
import { jsonPatch } from '../../src/inject/json-patch.ts'
import { isObject, objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { applyPatch } from '../support/apply-patch.ts'
import { digest, policyOf, settings } from '../support/golden-pods.ts'

const portName = fc.constantFrom('mcp', 'http', 'mcp-http', 'http-app', 'metrics', 'mcp-server-http')
const port = fc.record({ name: portName, containerPort: fc.integer({ min: 8000, max: 8010 }), protocol: fc.constantFrom('TCP', 'UDP'), future: fc.jsonValue() }, { requiredKeys: ['containerPort'] })
const handler = fc.record({ httpGet: fc.record({ path: fc.constant('/'), port: fc.oneof(portName, fc.integer({ min: 8000, max: 8010 })) }) })
const container = (name: fc.Arbitrary<string>): fc.Arbitrary<Record<string, unknown>> =>
  fc.record(
    { name, image: fc.constant('example/x:1'), ports: fc.array(port, { maxLength: 3 }), livenessProbe: handler, readinessProbe: handler, lifecycle: fc.record({ preStop: handler }), env: fc.array(fc.record({ name: fc.string(), value: fc.string() }), { maxLength: 2 }), unheardOf: fc.jsonValue() },
    { requiredKeys: ['name', 'image'] },
  )
const names = (prefix: string): fc.Arbitrary<string> => fc.nat(99).map(number => `${prefix}${number}`)
const unique = { selector: (each: Record<string, unknown>) => String(each['name']) }
const pod = fc
  .record(
    {
      metadata: fc.record({ name: fc.constant('p'), labels: fc.dictionary(fc.constantFrom('app', 'tier'), fc.constantFrom('a', 'b')), annotations: fc.dictionary(fc.constantFrom('x', 'y/z', 'a~b'), fc.string()) }, { requiredKeys: ['name'] }),
      containers: fc.uniqueArray(container(names('c')), { minLength: 1, maxLength: 3, ...unique }),
      initContainers: fc.uniqueArray(container(names('i')).chain(each => fc.constantFrom(each, { ...each, restartPolicy: 'Always' })), { maxLength: 2, ...unique }),
      volumes: fc.uniqueArray(fc.record({ name: names('v'), emptyDir: fc.constant({}) }), { maxLength: 2, ...unique }),
      unheardOf: fc.jsonValue(),
    },
    { requiredKeys: ['metadata', 'containers'] },
  )
  .map(({ metadata, ...spec }) => ({ apiVersion: 'v1', kind: 'Pod', metadata, spec }) as unknown as JsonObject)
const policySpec = fc.record({
  selector: fc.constant({}),
  ports: fc.uniqueArray(fc.record({ port: fc.oneof(portName, fc.integer({ min: 8000, max: 8010 })) }), { maxLength: 3, selector: each => each.port }),
  capture: fc.constantFrom('Auto', 'Port', 'Redirect'),
  onFailure: fc.constantFrom('Block', 'Allow'),
})
const situation = fc
  .record({ pod, spec: policySpec, oldestNodeMinor: fc.constantFrom(31, 34), level: fc.constantFrom('privileged', 'restricted', 'none') })
  .map(({ pod: given, spec, oldestNodeMinor, level }): DecisionInput => ({
    pod: given,
    namespace: { name: 'team-a', labels: level === 'none' ? {} : { 'pod-security.kubernetes.io/enforce': level }, annotations: {} },
    policies: [policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools', uid: 'u', generation: 1 }, spec: spec as unknown as Json })],
    settings: settings(),
    oldestNodeMinor,
    digest,
  }))

/** Other people's webhooks, as they are in the wild: they add what is missing and leave the rest. */
const FOREIGN: Readonly<Record<string, (given: JsonObject) => JsonObject>> = {
  sidecarAtTheEnd: given => withSpec(given, spec => addOnce(spec, 'containers', { name: 'linkerd-proxy', image: 'mesh:1', ports: [{ name: 'linkerd-proxy', containerPort: 4143 }] }, 'end')),
  initAtTheFront: given => withSpec(given, spec => addOnce(spec, 'initContainers', { name: 'mesh-init', image: 'mesh:1' }, 'front')),
  volumeAndMounts: given =>
    withSpec(given, spec => ({
      ...addOnce(spec, 'volumes', { name: 'certs', emptyDir: {} }, 'end'),
      ...Object.fromEntries(['containers', 'initContainers'].filter(list => Array.isArray(spec[list])).map(list => [list, objectsAt(spec, list).map(each => ({ ...each, volumeMounts: withEntry(objectsAt(each, 'volumeMounts'), 'mountPath', { name: 'certs', mountPath: '/certs' }) }))])),
    })),
  variableEverywhere: given =>
    withSpec(given, spec => Object.fromEntries(Object.entries(spec).map(([list, value]) => [list, list === 'containers' || list === 'initContainers' ? objectsAt(spec, list).map(each => ({ ...each, env: withEntry(objectsAt(each, 'env'), 'name', { name: 'TEAM', value: 'a' }) })) : value]))),
  annotation: given => ({ ...given, metadata: { ...objectAt(given, 'metadata'), annotations: { ...objectAt(given['metadata'], 'annotations'), 'mesh.example/status': 'injected' } } }),
}

function withSpec(given: JsonObject, map: (spec: JsonObject) => JsonObject): JsonObject {
  return { ...given, spec: map(objectAt(given, 'spec')) }
}

function addOnce(spec: JsonObject, list: string, entry: JsonObject, where: 'front' | 'end'): JsonObject {
  const present = objectsAt(spec, list)
  if (present.some(each => each['name'] === entry['name'])) return spec
  return { ...spec, [list]: where === 'front' ? [entry, ...present] : [...present, entry] }
}

function withEntry(list: readonly JsonObject[], key: string, entry: JsonObject): JsonObject[] {
  return list.some(each => each[key] === entry[key]) ? [...list] : [...list, entry]
}

/** Without the order of lists of named things; an empty list or map is as good as none. */
function unordered(value: Json | undefined): Json {
  if (Array.isArray(value)) {
    const entries = value.map(unordered)
    return entries.every(each => textAt(each, 'name') !== undefined) ? entries.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : entries
  }
  if (!isObject(value)) return value ?? null
  const members = Object.entries(value).filter(([, each]) => !(typeof each === 'object' && each !== null && Object.keys(each).length === 0))
  return Object.fromEntries(members.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, each]) => [name, name === 'cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes' ? String(each).split(',').toSorted() : unordered(each)]))
}

describe('decide(), whatever the pod', () => {
  it('is idempotent, and its patch makes the pod it says', () => {
    fc.assert(
      fc.property(situation, input => {
        const first = decide(input)
        expect(applyPatch(input.pod, first.patch)).to.deep.equal(first.pod)
        expect(decide({ ...input, pod: first.pod }).patch).to.deep.equal([])
      }),
      { numRuns: 500 },
    )
  })

  it('ends the same whether another webhook came before or after, once it is asked again', () => {
    fc.assert(
      fc.property(situation, fc.constantFrom(...Object.keys(FOREIGN)), (input, name) => {
        const foreign = FOREIGN[name] ?? (each => each)
        const ours = (given: JsonObject): JsonObject => decide({ ...input, pod: given }).pod
        const foreignFirst = foreign(ours(foreign(input.pod)))
        const oursFirst = ours(foreign(ours(input.pod)))
        expect(unordered(oursFirst)).to.deep.equal(unordered(foreignFirst))
        // And then it rests.
        expect(decide({ ...input, pod: oursFirst }).patch).to.deep.equal([])
        expect(decide({ ...input, pod: foreignFirst }).patch).to.deep.equal([])
      }),
      { numRuns: 500 },
    )
  })

  it('leaves everything of the user where it was, port names and probe ports apart', () => {
    const blurred = (value: Json | undefined): Json => {
      if (Array.isArray(value)) return value.map(blurred)
      if (!isObject(value)) return value ?? null
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, (name === 'name' && value['containerPort'] !== undefined) || (name === 'port' && value['path'] !== undefined) ? '' : blurred(each)]))
    }
    fc.assert(
      fc.property(situation, input => {
        const after = decide(input).pod
        for (const list of ['containers', 'initContainers', 'volumes']) {
          const users = objectsAt(after['spec'], list).filter(each => !String(each['name']).startsWith('steno-'))
          expect(blurred(users)).to.deep.equal(blurred(objectsAt(input.pod['spec'], list)))
        }
        // The one that kubectl takes when none is named.
        expect(objectsAt(after['spec'], 'containers')[0]?.['name']).to.equal(objectsAt(input.pod['spec'], 'containers')[0]?.['name'])
        expect(objectAt(after, 'spec')['unheardOf']).to.deep.equal(objectAt(input.pod, 'spec')['unheardOf'])
        expect(objectAt(after['metadata'], 'annotations')).to.include(objectAt(input.pod['metadata'], 'annotations'))
        expect(objectAt(after['metadata'], 'labels')).to.include(objectAt(input.pod['metadata'], 'labels'))
      }),
      { numRuns: 500 },
    )
  })

  it('follows its policy: a pod that was injected under one ends under another as if that had been the first', () => {
    fc.assert(
      fc.property(situation, policySpec, (input, other) => {
        const second = { ...input, policies: [policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools', uid: 'u', generation: 2 }, spec: other as unknown as Json })] }
        const direct = decide(second)
        const detour = decide({ ...second, pod: decide(input).pod })
        expect(detour.decision).to.equal(direct.decision)
        // A probe that was asked for by name has come back as the number that the name stood for.
        if (detour.decision === 'inject' && direct.decision === 'inject') expect(detour.ports).to.deep.equal(direct.ports)
      }),
      { numRuns: 300 },
    )
  })
})

describe('jsonPatch()', () => {
  it('removes and adds a field that has the name of one which every object inherits', () => {
    for (const name of ['valueOf', 'constructor', 'toString', '__proto__']) {
      const named: Json = Object.fromEntries([[name, 0]])
      expect(jsonPatch(named, {}), name).to.deep.equal([{ op: 'remove', path: `/${name}` }])
      expect(jsonPatch({}, named), name).to.deep.equal([{ op: 'add', path: `/${name}`, value: 0 }])
    }
  })

  it('makes the second of any two values from the first', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (before, after) => {
        expect(applyPatch(before as Json, jsonPatch(before as Json, after as Json))).to.deep.equal(after)
      }),
      { numRuns: 2_000 },
    )
  })
})
