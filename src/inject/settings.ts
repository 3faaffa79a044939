/** What the installation says about every recorder. Policies say the rest. */

import { readAwsInstallation } from '../policy/aws-installation.ts'
import type { AwsInstallation } from '../policy/aws-installation.ts'
import { Reader } from '../policy/problem.ts'
import type { Problem } from '../policy/problem.ts'
import type { FirehoseSink } from '../policy/session-policy.ts'

/** Where recordings of pods go whose policy names no sink. */
export type DefaultSink =
  | { readonly firehose: FirehoseSink }
  /** A PersistentVolumeClaim of this name in the pod's own namespace. */
  | { readonly claim: string }
  /** A volume of the pod, which ends with it: for trying. */
  | { readonly emptyDir: { readonly sizeMib: number } }

export interface InjectorSettings {
  /** Of this program. */
  readonly version: string
  /** The namespace of the installation itself: nothing in it is recorded. */
  readonly namespace: string
  /** Image of the recorder; by digest, so that every node runs the same. */
  readonly image: string
  readonly imagePullPolicy: 'IfNotPresent' | 'Always' | 'Never'
  readonly sink: DefaultSink
  /** Role that recorders take on in AWS, whatever policies there are. */
  readonly roleArn?: string
  /** Where the operator makes roles; recorders take on those, unless `roleArn` says otherwise. */
  readonly aws?: AwsInstallation
  /** A Secret of this name in the pod's own namespace holds the key of hashes, as `key`. Without it each recorder makes its own. */
  readonly keySecret?: string
  /** Another place than AWS for all its services, as in `AWS_ENDPOINT_URL`. */
  readonly awsEndpoint?: string
  /** Request of CPU. */
  readonly cpu: string
  /** None when it is left out. */
  readonly cpuLimit?: string
  /** Request and limit of CPU in pods whose class is Guaranteed, which need both. */
  readonly guaranteedCpu: string
  /** MiB, request and limit. */
  readonly memoryMib: number
  /** MiB that a spool may take. */
  readonly spoolMib: number
}

export type ParsedSettings = { readonly settings: InjectorSettings } | { readonly problems: readonly Problem[] }

const FIELDS = ['image', 'imagePullPolicy', 'namespace', 'sink', 'roleArn', 'aws', 'keySecret', 'awsEndpoint', 'cpu', 'cpuLimit', 'guaranteedCpu', 'memoryMib', 'spoolMib']
const CPU = { pattern: /^(?:[1-9][0-9]*m|[1-9][0-9]*)$/, says: 'must be CPU such as 100m or 1' }
const ROLE = { pattern: /^arn:aws[a-z-]*:iam::[0-9]{12}:role\/\S{1,512}$/, says: 'must be the ARN of an IAM role' }
const IMAGE = { pattern: /^\S{1,512}$/, says: 'must be the reference of an image' }
const NAME = { pattern: /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/, says: 'must be a name of lower case letters, digits, - and .' }
const STREAM = { pattern: /^[A-Za-z0-9_.-]{1,64}$/, says: 'must be the name of a Firehose stream' }
const ENDPOINT = { pattern: /^https?:\/\/[!-~]{1,512}$/, says: 'must be an http or https URL' }
const REGION = { pattern: /^[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}$/, says: 'must be the name of an AWS region such as eu-west-1' }

/** Below these the recorder does not run well. */
const MIN_MEMORY_MIB = 96
const MIN_SPOOL_MIB = 64
const MIN_ARCHIVE_MIB = 16

/** @param document as parsed from JSON or YAML */
export function parseSettings(document: unknown, version: string): ParsedSettings {
  const read = new Reader()
  const value = read.object(document, '', FIELDS)
  if (value === undefined) return { problems: read.problems }
  const image = read.text(value['image'], 'image', IMAGE)
  const imagePullPolicy = read.oneOf(value['imagePullPolicy'], 'imagePullPolicy', ['IfNotPresent', 'Always', 'Never'], 'IfNotPresent')
  const namespace = read.text(value['namespace'] ?? 'steno-system', 'namespace', NAME)
  const sink = readSink(read, value['sink'])
  const roleArn = value['roleArn'] === undefined ? undefined : read.text(value['roleArn'], 'roleArn', ROLE)
  const aws = value['aws'] === undefined ? undefined : readAwsInstallation(read, value['aws'], 'aws')
  const keySecret = value['keySecret'] === undefined ? undefined : read.text(value['keySecret'], 'keySecret', NAME)
  const awsEndpoint = value['awsEndpoint'] === undefined ? undefined : read.text(value['awsEndpoint'], 'awsEndpoint', ENDPOINT)
  const cpu = read.text(value['cpu'] ?? '50m', 'cpu', CPU)
  const cpuLimit = value['cpuLimit'] === undefined ? undefined : read.text(value['cpuLimit'], 'cpuLimit', CPU)
  if (cpu !== undefined && cpuLimit !== undefined && millis(cpuLimit) < millis(cpu)) read.wrong('cpuLimit', `must be at least cpu, which is ${cpu}`)
  const guaranteedCpu = read.text(value['guaranteedCpu'] ?? '250m', 'guaranteedCpu', CPU)
  const memoryMib = whole(read, value['memoryMib'] ?? 192, 'memoryMib', MIN_MEMORY_MIB)
  const spoolMib = whole(read, value['spoolMib'] ?? 512, 'spoolMib', MIN_SPOOL_MIB)
  if (read.problems.length > 0 || image === undefined || imagePullPolicy === undefined || namespace === undefined || sink === undefined) return { problems: read.problems }
  if (cpu === undefined || guaranteedCpu === undefined || memoryMib === undefined || spoolMib === undefined) return { problems: read.problems }
  return { settings: { version, namespace, image, imagePullPolicy, sink, ...(roleArn === undefined ? {} : { roleArn }), ...(aws === undefined ? {} : { aws }), ...(keySecret === undefined ? {} : { keySecret }), ...(awsEndpoint === undefined ? {} : { awsEndpoint }), cpu, ...(cpuLimit === undefined ? {} : { cpuLimit }), guaranteedCpu, memoryMib, spoolMib } }
}

function readSink(read: Reader, value: unknown): DefaultSink | undefined {
  const sink = read.object(value, 'sink', ['firehose', 'claim', 'emptyDir'])
  if (sink === undefined) return undefined
  if (Object.values(sink).filter(each => each !== undefined).length !== 1) return read.wrong('sink', 'must have one of firehose, claim and emptyDir')
  if (sink['claim'] !== undefined) {
    const claim = read.text(sink['claim'], 'sink.claim', NAME)
    return claim === undefined ? undefined : { claim }
  }
  if (sink['emptyDir'] !== undefined) {
    const volume = read.object(sink['emptyDir'], 'sink.emptyDir', ['sizeMib'])
    const sizeMib = volume && whole(read, volume['sizeMib'] ?? 512, 'sink.emptyDir.sizeMib', MIN_ARCHIVE_MIB)
    return sizeMib === undefined ? undefined : { emptyDir: { sizeMib } }
  }
  const firehose = read.object(sink['firehose'], 'sink.firehose', ['stream', 'region'])
  const stream = firehose && read.text(firehose['stream'], 'sink.firehose.stream', STREAM)
  const region = firehose && read.text(firehose['region'], 'sink.firehose.region', REGION)
  return stream === undefined || region === undefined ? undefined : { firehose: { stream, region } }
}

function millis(cpu: string): number {
  return cpu.endsWith('m') ? Number(cpu.slice(0, -1)) : Number(cpu) * 1000
}

function whole(read: Reader, value: unknown, path: string, least: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= 1_048_576 ? value : read.wrong(path, `must be a whole number of MiB, at least ${least}`)
}
