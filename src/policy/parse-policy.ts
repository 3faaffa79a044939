/** From the JSON of a SessionPolicy to its type, or to everything that is wrong with it. As strict as the CRD; a test compares the two. */

import { isObject, numberAt, textAt } from './json.ts'
import { Reader } from './problem.ts'
import type { Problem } from './problem.ts'
import { CAPTURES, DIRECT_PORTS, DURABILITIES, FAILURES, GROUP, KIND, MAX_POLICY_ARNS, MAX_PORTS, MAX_SUBJECTS, OPT_OUTS, OTHERS, REPAIRS, UNRECORDED, VERSION } from './session-policy.ts'
import type { FirehoseSink, LabelSelector, PolicySpec, SelectorTerm, SessionPolicy, Subject } from './session-policy.ts'

export type ParsedPolicy = { readonly policy: SessionPolicy } | { readonly problems: readonly Problem[] }

/** All that a spec may have. */
export const SPEC_FIELDS: readonly string[] = ['selector', 'ports', 'capture', 'durability', 'onFailure', 'optOut', 'directPort', 'unrecorded', 'repair', 'access', 'sink', 'aws']

const API_VERSION = `${GROUP}/${VERSION}`
const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const

/** IANA service name, as for the name of a container port. */
const PORT_NAME = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*$/
const NAME = { pattern: /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/, says: 'must be a name of lower case letters, digits, - and .' }
const STREAM = { pattern: /^[A-Za-z0-9_.-]{1,64}$/, says: 'must be the name of a Firehose stream: 1 to 64 of a-z, A-Z, 0-9, _ . -' }
const REGION = { pattern: /^[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}$/, says: 'must be the name of an AWS region such as eu-west-1' }
/** A prefix that is a DNS name, then at most 63 characters (k8s.io/apimachinery, IsQualifiedName). */
const LABEL_KEY = { pattern: /^(?:(?=.{1,253}\/)[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/, says: 'must be the key of a label' }
const LABEL_VALUE = { pattern: /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/, says: 'must be the value of a label: at most 63 of a-z, A-Z, 0-9, - _ .' }

/** Those of the cluster itself, such as `system:authenticated`, are not a policy's to let in. */
const SUBJECT = { pattern: /^(?!system:)[^\s\p{Cc}]{1,256}$/u, says: 'must be the name of a group or user, at most 256 characters without spaces, and not begin with system:' }

/** Of a role; those of AWS's own services are nobody's to take on. */
const ROLE = { pattern: /^arn:aws[a-z-]*:iam::[0-9]{12}:role\/(?!aws-service-role\/)[\w+=,.@/-]{1,200}$/, says: 'must be the ARN of an IAM role' }
const POLICY_ARN = { pattern: /^arn:aws[a-z-]*:iam::(?:[0-9]{12}|aws):policy\/[\w+=,.@/-]{1,200}$/, says: 'must be the ARN of a managed policy' }

const MAX_SELECTOR_ENTRIES = 32
const MAX_SELECTOR_VALUES = 64

/** @param document as parsed from JSON or YAML; `metadata` may be that of a stored object or of a file */
export function parsePolicy(document: unknown): ParsedPolicy {
  const read = new Reader()
  const top = read.object(document, '', ['apiVersion', 'kind', 'metadata', 'spec', 'status'])
  if (top === undefined) return { problems: read.problems }
  if (top['apiVersion'] !== API_VERSION) read.wrong('apiVersion', `must be ${API_VERSION}`)
  if (top['kind'] !== KIND) read.wrong('kind', `must be ${KIND}`)
  // Metadata is the API server's to check, except what is used here.
  const metadata = isObject(top['metadata']) ? top['metadata'] : {}
  const name = read.text(metadata['name'], 'metadata.name', NAME)
  const spec = readSpec(read, top['spec'])
  if (read.problems.length > 0 || name === undefined || spec === undefined) return { problems: read.problems }
  return { policy: { namespace: textAt(metadata, 'namespace') ?? 'default', name, uid: textAt(metadata, 'uid') ?? '', generation: numberAt(metadata, 'generation') ?? 0, spec } }
}

function readSpec(read: Reader, value: unknown): PolicySpec | undefined {
  const spec = read.object(value, 'spec', SPEC_FIELDS)
  if (spec === undefined) return undefined
  const selector = readSelector(read, spec['selector'])
  const ports = read.list(spec['ports'], 'spec.ports', MAX_PORTS, (entry, path) => readPort(read, entry, path))
  if (new Set(ports).size < ports.length) read.wrong('spec.ports', 'must not name a port twice')
  const capture = read.oneOf(spec['capture'], 'spec.capture', CAPTURES, 'Auto')
  const durability = read.oneOf(spec['durability'], 'spec.durability', DURABILITIES, 'Local')
  const onFailure = read.oneOf(spec['onFailure'], 'spec.onFailure', FAILURES, 'Block')
  const optOut = read.oneOf(spec['optOut'], 'spec.optOut', OPT_OUTS, 'Refuse')
  const directPort = read.oneOf(spec['directPort'], 'spec.directPort', DIRECT_PORTS, 'Close')
  const unrecorded = read.oneOf(spec['unrecorded'], 'spec.unrecorded', UNRECORDED, 'Allow')
  const repair = read.oneOf(spec['repair'], 'spec.repair', REPAIRS, 'Report')
  const { connect, view, others } = readAccess(read, spec['access'])
  const sink = spec['sink'] === undefined ? undefined : readSink(read, spec['sink'], 'spec.sink')
  const policyArns = spec['aws'] === undefined ? [] : readAws(read, spec['aws'])
  if (durability === 'OffPod' && onFailure === 'Allow') read.wrong('spec.onFailure', 'must be Block with durability OffPod: what is let pass unrecorded is not off the pod')
  if (selector === undefined || capture === undefined || durability === undefined || onFailure === undefined || optOut === undefined || directPort === undefined || unrecorded === undefined || repair === undefined) return undefined
  return { selector, ports, capture, durability, onFailure, optOut, directPort, unrecorded, repair, connect, view, others, policyArns, ...(sink === undefined ? {} : { sink }) }
}

function readPort(read: Reader, value: unknown, path: string): string | number | undefined {
  const entry = read.object(value, path, ['port'])
  if (entry === undefined) return undefined
  const port = entry['port']
  if (typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535) return port
  if (typeof port === 'string' && PORT_NAME.test(port)) return port
  return read.wrong(`${path}.port`, 'must be a number from 1 to 65535, or the name of a container port: at most 15 of a-z, 0-9 and -, with a letter')
}

function readSelector(read: Reader, value: unknown): LabelSelector | undefined {
  const path = 'spec.selector'
  const selector = read.object(value, path, ['matchLabels', 'matchExpressions'])
  if (selector === undefined) return undefined
  const labels = selector['matchLabels'] === undefined ? {} : selector['matchLabels']
  if (!isObject(labels)) return read.wrong(`${path}.matchLabels`, 'must be an object')
  const matchLabels: Record<string, string> = {}
  if (Object.keys(labels).length > MAX_SELECTOR_ENTRIES) read.wrong(`${path}.matchLabels`, `may have at most ${MAX_SELECTOR_ENTRIES} entries`)
  for (const [key, entry] of Object.entries(labels)) {
    const at = `${path}.matchLabels.${key}`
    read.text(key, at, LABEL_KEY)
    matchLabels[key] = read.text(entry, at, LABEL_VALUE) ?? ''
  }
  const matchExpressions = read.list(selector['matchExpressions'], `${path}.matchExpressions`, MAX_SELECTOR_ENTRIES, (entry, at) => readTerm(read, entry, at))
  return { matchLabels, matchExpressions }
}

function readTerm(read: Reader, value: unknown, path: string): SelectorTerm | undefined {
  const term = read.object(value, path, ['key', 'operator', 'values'])
  if (term === undefined) return undefined
  const key = read.text(term['key'], `${path}.key`, LABEL_KEY)
  const operator = read.oneOf(term['operator'], `${path}.operator`, OPERATORS)
  const values = read.list(term['values'], `${path}.values`, MAX_SELECTOR_VALUES, (entry, at) => read.text(entry, at, LABEL_VALUE))
  const wantsValues = operator === 'In' || operator === 'NotIn'
  if (operator !== undefined && wantsValues === (values.length === 0)) read.wrong(`${path}.values`, `must ${wantsValues ? 'not be empty' : 'be absent'} with ${operator}`)
  return key === undefined || operator === undefined ? undefined : { key, operator, values }
}

function readAccess(read: Reader, value: unknown): Pick<PolicySpec, 'connect' | 'view' | 'others'> {
  const access = value === undefined ? undefined : read.object(value, 'spec.access', ['connect', 'view', 'others'])
  if (access === undefined) return { connect: [], view: [], others: 'Record' }
  const [connect = [], view = []] = ['connect', 'view'].map(field => read.list(access[field], `spec.access.${field}`, MAX_SUBJECTS, (entry, path) => readSubject(read, entry, path, field === 'connect')))
  return { connect, view, others: read.oneOf(access['others'], 'spec.access.others', OTHERS, 'Record') ?? 'Record' }
}

/** @param roles whether it may be an IAM role */
function readSubject(read: Reader, value: unknown, path: string, roles: boolean): Subject | undefined {
  const entry = read.object(value, path, ['group', 'user', ...(roles ? ['role'] : [])])
  if (entry === undefined) return undefined
  if (['group', 'user', 'role'].filter(each => entry[each] !== undefined).length !== 1) return read.wrong(path, `must have either ${roles ? 'group, user or role' : 'group or user'}`)
  if (entry['role'] !== undefined) {
    const role = read.text(entry['role'], `${path}.role`, ROLE)
    return role === undefined ? undefined : { kind: 'Group', name: groupOfRole(role), role }
  }
  const kind = entry['group'] === undefined ? 'User' : 'Group'
  const name = read.text(entry[kind.toLowerCase()], `${path}.${kind.toLowerCase()}`, SUBJECT)
  return name === undefined ? undefined : { kind, name }
}

/** EKS puts who takes on the role into this group; the name says whose it is. */
function groupOfRole(arn: string): string {
  return `steno:${arn}`
}

function readAws(read: Reader, value: unknown): readonly string[] {
  const aws = read.object(value, 'spec.aws', ['policyArns'])
  const arns = read.list(aws?.['policyArns'], 'spec.aws.policyArns', MAX_POLICY_ARNS, (entry, path) => read.text(entry, path, POLICY_ARN))
  if (new Set(arns).size < arns.length) read.wrong('spec.aws.policyArns', 'must not name a policy twice')
  if (aws !== undefined && arns.length === 0) read.wrong('spec.aws.policyArns', 'must name a policy')
  return arns
}

export function readSink(read: Reader, value: unknown, path: string): FirehoseSink | undefined {
  const sink = read.object(value, path, ['firehose'])
  if (sink === undefined) return undefined
  const firehose = read.object(sink['firehose'], `${path}.firehose`, ['stream', 'region'])
  const stream = firehose && read.text(firehose['stream'], `${path}.firehose.stream`, STREAM)
  const region = firehose && read.text(firehose['region'], `${path}.firehose.region`, REGION)
  return stream === undefined || region === undefined ? undefined : { stream, region }
}
